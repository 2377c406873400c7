package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

const (
	// formatVersion is the format of a data directory: the file FORMAT, the names
	// beside it, the keys and values in Pebble, and what Shard computes. It
	// changes when an older build could misread what a newer one wrote.
	formatVersion = 1
	// maxFormatFile bounds the file FORMAT in bytes.
	maxFormatFile = 4096
	// product is what the file FORMAT begins with.
	product = "chord-plugin data"
)

// The states of a data directory.
const (
	// stateNew: the first start has not ended; nothing was ever acknowledged.
	stateNew = "new"
	// stateReady: the database holds an identity. From now on a missing database
	// is lost data, not a new member.
	stateReady = "ready"
	// stateRefused: the directory is not the newest of its member, which must not
	// come back with it. It stays so until the directory is emptied.
	stateRefused = "refused"
)

// format is what the file FORMAT says.
type format struct {
	Product string `json:"product"`
	Format  int    `json:"format"`
	Shards  int    `json:"shards"`
	State   string `json:"state"`
}

// encode returns the text of the file FORMAT: one line of JSON.
func (f format) encode() []byte {
	b, err := json.Marshal(f)
	if err != nil {
		panic(fmt.Sprintf("store: encoding a format: %v", err)) // no field of it can fail
	}
	return append(b, '\n')
}

// parseFormat reads what encode wrote. A newer format is told from anything else
// before its fields are looked at.
func parseFormat(b []byte) (format, error) {
	var f format
	if err := json.Unmarshal(b, &f); err != nil || f.Product != product {
		return format{}, errors.New("it is not a FORMAT file of chord-plugin")
	}
	if f.Format != formatVersion {
		return format{}, fmt.Errorf("it has format %d and this build reads format %d; start the build that wrote it, nothing was changed", f.Format, formatVersion)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	f = format{}
	if err := d.Decode(&f); err != nil {
		return format{}, fmt.Errorf("its FORMAT file is damaged: %w", err)
	}
	switch {
	case f.Shards < 1 || f.Shards > MaxShards:
		return format{}, fmt.Errorf("its FORMAT file is damaged: %d shards; allowed are 1 to %d", f.Shards, MaxShards)
	case f.State != stateNew && f.State != stateReady && f.State != stateRefused:
		return format{}, fmt.Errorf("its FORMAT file is damaged: the state is %q; allowed are %q, %q and %q", f.State, stateNew, stateReady, stateRefused)
	case !bytes.Equal(f.encode(), b):
		return format{}, errors.New("its FORMAT file is damaged: it is not written as this build writes it")
	}
	return f, nil
}

// The keys in Pebble: a byte for the table, then the key of the row.
const (
	tableCell          = 'c' // + key -> register.AppendCell
	tableConfiguration = 'r' // + epoch, 8 bytes big-endian -> ring.Configuration.Encode
	tableMark          = 'm' // + shard, 2 bytes big-endian -> version 1, high water as uvarint
	tableIdentity      = 'i' // -> version 1, node (nodeBytes), boot as 8 bytes big-endian
	tableFence         = 'f' // + lock -> register.AppendFenceEntry
	tableHeld          = 'h' // + session (length as uvarint, bytes), key -> nothing
	tableExpiring      = 'e' // + key -> nothing
	tableIndex         = 'x' // -> version 1, indexVersion, the boot up to which the two before are whole
)

// nodeBytes is the length of Identity.Node.
const nodeBytes = 32

const rowVersion = 1

var identityKey = []byte{tableIdentity}

func appendCellKey(dst []byte, key string) []byte {
	return append(append(dst, tableCell), key...)
}

func configurationKey(epoch uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{tableConfiguration}, epoch)
}

func markKey(shard int) []byte {
	return binary.BigEndian.AppendUint16([]byte{tableMark}, uint16(shard))
}

func encodeMark(m register.Mark) []byte {
	return binary.AppendUvarint([]byte{rowVersion}, m.HighWater)
}

func decodeMark(b []byte) (register.Mark, error) {
	if len(b) < 2 || b[0] != rowVersion {
		return register.Mark{}, fmt.Errorf("a mark of %d bytes is not one of version %d", len(b), rowVersion)
	}
	v, n := binary.Uvarint(b[1:])
	if n != len(b)-1 {
		return register.Mark{}, fmt.Errorf("a mark of %d bytes does not end where its number ends", len(b))
	}
	return register.Mark{HighWater: v}, nil
}

func encodeIdentity(id Identity) []byte {
	b := append([]byte{rowVersion}, id.Node...)
	return binary.BigEndian.AppendUint64(b, id.Boot)
}

func decodeIdentity(b []byte) (Identity, error) {
	if len(b) != 1+nodeBytes+8 || b[0] != rowVersion {
		return Identity{}, fmt.Errorf("an identity of %d bytes is not one of version %d", len(b), rowVersion)
	}
	return Identity{
		Node:   bytes.Clone(b[1 : 1+nodeBytes]),
		Boot:   binary.BigEndian.Uint64(b[1+nodeBytes:]),
		Format: formatVersion,
	}, nil
}

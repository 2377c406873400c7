package register

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// The encoding of a cell, on disk and on the wire. All numbers are unsigned
// varints except nodes, which are 8 bytes big-endian:
//
//	version 1
//	accepted: time, node
//	flags: bit 0 live, 1 hidden, 2 holding, 3 expires, 4 intent, 5 tags,
//	  6 was tagged
//	create, host flags
//	hidden: shown
//	holding: session (length, bytes), holders, token; flags: bit 0 over, 1 delete
//	expires: nanoseconds
//	intent: start, attempt; flags: bit 0 live, 1 guard, 2 fresh; stamp, host flags,
//	  holding, expires, data (length, bytes)
//	tags: count, then (key (length, bytes), token, token and number of the pass)
//	  each; undo: length, accepted, and a value without tags
//	lineage: count, then (write time, write node, op time, op node) each
//	data: the rest
const cellVersion = 1

// The flags of a value; a field whose flag is not set is zero and not there.
const (
	cellLive = 1 << iota
	cellHidden
	cellHolding
	cellExpires
	cellIntent
	cellTags
	cellWasTagged
	cellFlags = 1<<iota - 1
)

// The flags of an intent.
const (
	intentLive = 1 << iota
	intentGuard
	intentFresh
	intentFlags = 1<<iota - 1
)

// The flags of a holding.
const (
	holdingOver = 1 << iota
	holdingDelete
	holdingFlags = 1<<iota - 1
)

// maxEncodedLineage bounds what a decoder believes; a round adds at most
// maxBatch writes to maxLineage, the one that is older and the origin.
const maxEncodedLineage = maxBatch + maxLineage + 2

var errShort = errors.New("it ends too early")

// AppendCell appends the encoding of c to dst.
func AppendCell(dst []byte, c *Cell) []byte {
	dst = append(dst, cellVersion)
	dst = appendBallot(dst, c.Accepted)
	return appendValue(dst, &c.Value)
}

// DecodeCell reads what AppendCell wrote. The cell's data, and that of its intent,
// are slices of b; see Value.CloneData.
func DecodeCell(b []byte) (Cell, error) {
	var c Cell
	d := decoder{b: b}
	if v := d.byte(); d.err == nil && v != cellVersion {
		return c, fmt.Errorf("register: cell of encoding version %d; this build reads version %d", v, cellVersion)
	}
	c = d.cell()
	if d.err != nil {
		return Cell{}, fmt.Errorf("register: cell of %d bytes: %w", len(b), d.err)
	}
	return c, nil
}

func appendBallot(dst []byte, b Ballot) []byte {
	dst = binary.AppendUvarint(dst, b.Time)
	return binary.BigEndian.AppendUint64(dst, uint64(b.Node))
}

// appendValue appends v; its data goes to the end of dst.
func appendValue(dst []byte, v *Value) []byte {
	var flags byte
	if v.Live {
		flags |= cellLive
	}
	if v.Hidden {
		flags |= cellHidden
	}
	if v.Holding != (Holding{}) {
		flags |= cellHolding
	}
	if v.Expires != 0 {
		flags |= cellExpires
	}
	if v.Intent != nil {
		flags |= cellIntent
	}
	if len(v.Tags) > 0 {
		flags |= cellTags
	}
	if v.WasTagged {
		flags |= cellWasTagged
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, v.Create)
	dst = binary.AppendUvarint(dst, v.Flags)
	if v.Hidden {
		dst = binary.AppendUvarint(dst, v.Shown)
	}
	if flags&cellHolding != 0 {
		dst = appendHolding(dst, v.Holding)
	}
	if v.Expires != 0 {
		dst = binary.AppendUvarint(dst, uint64(v.Expires))
	}
	if v.Intent != nil {
		dst = appendIntent(dst, v.Intent)
	}
	if flags&cellTags != 0 {
		dst = appendTags(dst, v)
	}
	dst = binary.AppendUvarint(dst, uint64(len(v.Lineage)))
	for _, p := range v.Lineage {
		dst = appendBallot(dst, p.Write)
		dst = appendBallot(dst, p.Op)
	}
	return append(dst, v.Data...)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendHolding(dst []byte, h Holding) []byte {
	dst = appendString(dst, h.Session)
	dst = binary.AppendUvarint(dst, h.Holders)
	dst = binary.AppendUvarint(dst, h.Token)
	var flags byte
	if h.Over {
		flags |= holdingOver
	}
	if h.Delete {
		flags |= holdingDelete
	}
	return append(dst, flags)
}

func appendTxn(dst []byte, id TxnID) []byte {
	dst = appendBallot(dst, id.Start)
	return binary.AppendUvarint(dst, uint64(id.Attempt))
}

func appendIntent(dst []byte, in *Intent) []byte {
	dst = appendTxn(dst, in.Txn)
	var flags byte
	if in.New.Live {
		flags |= intentLive
	}
	if in.Guard {
		flags |= intentGuard
	}
	if in.Fresh {
		flags |= intentFresh
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, in.Stamp)
	dst = binary.AppendUvarint(dst, in.New.Flags)
	dst = appendHolding(dst, in.New.Holding)
	dst = binary.AppendUvarint(dst, uint64(in.New.Expires))
	dst = binary.AppendUvarint(dst, uint64(len(in.New.Data)))
	return append(dst, in.New.Data...)
}

// decoder reads fields and keeps the first error.
type decoder struct {
	b   []byte
	err error
	// plain: values may not have tags.
	plain bool
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err, d.b = err, nil
	}
}

func (d *decoder) byte() byte {
	if len(d.b) < 1 {
		d.fail(errShort)
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) time() uint64 {
	v := d.uvarint()
	if v > MaxTime {
		d.fail(fmt.Errorf("timestamp %d has more than 53 bits", v))
		return 0
	}
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail(errShort)
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) node() ring.Node {
	if b := d.bytes(8); b != nil {
		return ring.Node(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *decoder) string() string { return string(d.bytes(d.uvarint())) }

func (d *decoder) duration() time.Duration { return time.Duration(d.uvarint() & (1<<63 - 1)) }

func (d *decoder) holding() Holding {
	h := Holding{Session: d.string(), Holders: d.uvarint(), Token: d.time()}
	flags := d.byte()
	if flags&^holdingFlags != 0 {
		d.fail(fmt.Errorf("unknown flags %#x of a holding; a newer build wrote this", flags))
	}
	h.Over, h.Delete = flags&holdingOver != 0, flags&holdingDelete != 0
	return h
}

func (d *decoder) txn() TxnID {
	id := TxnID{Start: d.ballot()}
	n := d.uvarint()
	if n > math.MaxUint32 {
		d.fail(fmt.Errorf("attempt %d has more than 32 bits", n))
	}
	id.Attempt = uint32(n)
	return id
}

func (d *decoder) intent() *Intent {
	in := &Intent{Txn: d.txn()}
	flags := d.byte()
	if flags&^intentFlags != 0 {
		d.fail(fmt.Errorf("unknown flags %#x of an intent; a newer build wrote this", flags))
	}
	in.New.Live, in.Guard, in.Fresh = flags&intentLive != 0, flags&intentGuard != 0, flags&intentFresh != 0
	in.Stamp = d.time()
	in.New.Flags = d.uvarint()
	in.New.Holding = d.holding()
	in.New.Expires = d.duration()
	if data := d.bytes(d.uvarint()); len(data) > 0 {
		in.New.Data = data
	}
	return in
}

func (d *decoder) ballot() Ballot { return Ballot{Time: d.time(), Node: d.node()} }

// value reads a value whose data is the rest of the input.
func (d *decoder) value() Value {
	var v Value
	flags := d.byte()
	if flags&^cellFlags != 0 {
		d.fail(fmt.Errorf("unknown flags %#x; a newer build wrote this", flags))
	}
	v.Live = flags&cellLive != 0
	v.Create = d.time()
	v.Flags = d.uvarint()
	if v.Hidden = flags&cellHidden != 0; v.Hidden {
		v.Shown = d.time()
	}
	if flags&cellHolding != 0 {
		v.Holding = d.holding()
	}
	if flags&cellExpires != 0 {
		v.Expires = d.duration()
	}
	if flags&cellIntent != 0 {
		v.Intent = d.intent()
	}
	v.WasTagged = flags&cellWasTagged != 0
	if flags&cellTags != 0 && d.plain {
		d.fail(errors.New("what a tagged value was made on top of has tags itself"))
	}
	if flags&cellTags != 0 {
		d.tags(&v)
	}
	n := d.uvarint()
	if n > maxEncodedLineage {
		d.fail(fmt.Errorf("lineage of %d writes; at most %d are kept", n, maxEncodedLineage))
		return Value{}
	}
	if n > 0 {
		v.Lineage = make([]Past, n)
		for i := range v.Lineage {
			v.Lineage[i] = Past{Write: d.ballot(), Op: d.ballot()}
			if i > 0 && d.err == nil && !v.Lineage[i].Write.Less(v.Lineage[i-1].Write) {
				d.fail(errors.New("its lineage is out of order"))
			}
		}
	}
	if d.err == nil && len(d.b) > 0 {
		v.Data = d.b[:len(d.b):len(d.b)]
	}
	return v
}

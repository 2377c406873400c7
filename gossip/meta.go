package gossip

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Limits of what a node tells of itself, in bytes. Together they fit into
// memberlist's 512, as TestMetaFits shows.
const (
	MaxName    = 64
	MaxAddr    = 150
	MaxVersion = 32
)

// metaVersion is the first byte of a node's meta. A later release may append
// fields without changing it: what follows the known fields is skipped.
const metaVersion = 1

// returning is the byte that says Node.Returning.
const returning = 1

const (
	idBytes   = ring.Bits / 8
	ringBytes = 16
)

// encodeMeta writes what n tells of itself: version, role, ring ID (zero for
// none), node ID, epoch, boot, started, expect, then name, mesh address, HTTP
// address and version, each behind a length byte, and returning for one that
// returns. Numbers are big-endian.
func encodeMeta(n *Node) ([]byte, error) {
	if err := checkMeta(n); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 256)
	b = append(b, metaVersion)
	if n.Role == RoleClient {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	var id [ringBytes]byte
	if n.RingID != "" {
		// checkMeta has seen that it is hex of the right length.
		if _, err := hex.Decode(id[:], []byte(n.RingID)); err != nil {
			return nil, fmt.Errorf("ring ID %q: %w", n.RingID, err)
		}
	}
	b = append(b, id[:]...)
	b = append(b, n.ID.Bytes()...)
	b = binary.BigEndian.AppendUint64(b, n.Epoch)
	b = binary.BigEndian.AppendUint64(b, n.Boot)
	b = binary.BigEndian.AppendUint64(b, n.Started)
	b = binary.BigEndian.AppendUint16(b, uint16(n.Expect))
	for _, s := range []string{n.Name, n.MeshAddr, n.HTTPAddr, n.Version} {
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	if n.Returning {
		b = append(b, returning)
	}
	return b, nil
}

var errShortMeta = errors.New("the meta is cut off")

// decodeMeta reads what encodeMeta writes; State and GossipAddr stay empty.
func decodeMeta(b []byte) (Node, error) {
	var n Node
	const fixed = 2 + ringBytes + idBytes + 3*8 + 2
	switch {
	case len(b) == 0:
		return n, errShortMeta
	case b[0] != metaVersion:
		return n, fmt.Errorf("the meta has version %d; this build reads %d", b[0], metaVersion)
	case len(b) < fixed:
		return n, errShortMeta
	}
	switch b[1] {
	case 0:
		n.Role = RoleMember
	case 1:
		n.Role = RoleClient
	default:
		return n, fmt.Errorf("the meta has role %d; known are 0 and 1", b[1])
	}
	b = b[2:]
	if id := [ringBytes]byte(b); id != [ringBytes]byte{} {
		n.RingID = ring.RingID(hex.EncodeToString(id[:]))
	}
	b = b[ringBytes:]
	var err error
	if n.ID, err = ring.IDFromBytes(b[:idBytes]); err != nil {
		return n, err
	}
	b = b[idBytes:]
	n.Epoch, b = binary.BigEndian.Uint64(b), b[8:]
	n.Boot, b = binary.BigEndian.Uint64(b), b[8:]
	n.Started, b = binary.BigEndian.Uint64(b), b[8:]
	n.Expect, b = int(binary.BigEndian.Uint16(b)), b[2:]
	for _, s := range []*string{&n.Name, &n.MeshAddr, &n.HTTPAddr, &n.Version} {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return n, errShortMeta
		}
		*s, b = string(b[1:1+b[0]]), b[1+b[0]:]
	}
	n.Returning = len(b) > 0 && b[0] == returning
	return n, checkMeta(&n)
}

// checkMeta says what of n cannot be told to others, or nil.
func checkMeta(n *Node) error {
	switch {
	case n.ID.IsZero() || n.ID.Node() == 0:
		return errors.New("the node has no usable ID")
	case n.Role != RoleMember && n.Role != RoleClient:
		return fmt.Errorf("role %q; allowed are %q and %q", n.Role, RoleMember, RoleClient)
	case n.Name == "":
		return errors.New("the node has no name")
	case n.Boot == 0:
		return errors.New("boot 0; boots begin at 1")
	case n.Expect < 0 || n.Expect > ring.MaxMembers:
		return fmt.Errorf("expect %d; allowed are 0 to %d", n.Expect, ring.MaxMembers)
	case n.RingID == "" && n.Epoch != 0:
		return fmt.Errorf("epoch %d without a ring", n.Epoch)
	case n.RingID != "" && !isRingID(n.RingID):
		return fmt.Errorf("ring ID %q is not %d lower-case hex digits, or all of them are 0", n.RingID, 2*ringBytes)
	}
	for _, f := range []struct {
		what, s string
		most    int
	}{
		{"name", n.Name, MaxName},
		{"mesh address", n.MeshAddr, MaxAddr},
		{"HTTP address", n.HTTPAddr, MaxAddr},
		{"version", n.Version, MaxVersion},
	} {
		if len(f.s) > f.most {
			return fmt.Errorf("the %s has %d bytes and may have %d; it begins with %.40q", f.what, len(f.s), f.most, f.s)
		}
		if !utf8.ValidString(f.s) {
			return fmt.Errorf("the %s is not valid UTF-8: %q", f.what, f.s)
		}
		for _, r := range f.s {
			if !unicode.IsPrint(r) || r == ' ' {
				return fmt.Errorf("the %s holds %U; spaces and unprintable characters are not allowed: %q", f.what, r, f.s)
			}
		}
	}
	return nil
}

func isRingID(id ring.RingID) bool {
	b, err := hex.DecodeString(string(id))
	return err == nil && len(b) == ringBytes && [ringBytes]byte(b) != [ringBytes]byte{} &&
		hex.EncodeToString(b) == string(id)
}

package ring

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
)

// Bits is the width of the identifier circle.
const Bits = 384

const idBytes = Bits / 8

// ID is a point on the 384-bit circle: a node's identity or a place of a key.
// IDs are ordered as big-endian numbers. The zero ID stands for "none".
type ID struct{ b [idBytes]byte }

// NodeID derives a node's ID from its identity, a string of random bytes that a
// member keeps for life and a client mints at each start: the SHA-384 of it.
func NodeID(identity []byte) ID { return ID{sha512.Sum384(identity)} }

// IDFromBytes returns the ID with these 48 big-endian bytes.
func IDFromBytes(b []byte) (ID, error) {
	var id ID
	if len(b) != idBytes {
		return id, fmt.Errorf("an ID has %d bytes, not %d", idBytes, len(b))
	}
	copy(id.b[:], b)
	return id, nil
}

// ParseID reads what String prints.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 1+2*idBytes || s[0] != 'n' {
		return id, fmt.Errorf("an ID is written as 'n' and %d hex digits, not %q", 2*idBytes, s)
	}
	if _, err := hex.Decode(id.b[:], []byte(s[1:])); err != nil {
		return ID{}, fmt.Errorf("ID %q: %w", s, err)
	}
	return id, nil
}

// String prints the whole ID: 'n' and 96 hex digits.
func (id ID) String() string { return "n" + hex.EncodeToString(id.b[:]) }

// Short prints enough of the ID for a person: 'n' and its first 8 hex digits.
func (id ID) Short() string { return "n" + hex.EncodeToString(id.b[:4]) }

// Hex prints the 96 hex digits alone, as a point of a key.
func (id ID) Hex() string { return hex.EncodeToString(id.b[:]) }

// Bytes returns the 48 big-endian bytes.
func (id ID) Bytes() []byte { return bytes.Clone(id.b[:]) }

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// Node returns the first 64 bits, the node's name in ballots and messages.
func (id ID) Node() Node { return Node(id.head()) }

// head returns the first 64 bits.
func (id *ID) head() uint64 { return binary.BigEndian.Uint64(id.b[:8]) }

// Compare orders IDs as big-endian numbers.
func (id ID) Compare(o ID) int { return bytes.Compare(id.b[:], o.b[:]) }

// Between reports whether id lies on the arc from a (excluded) clockwise to b
// (included). The arc (a, a] is the whole circle, as in Chord, section 4.
func (id ID) Between(a, b ID) bool {
	switch ab := a.Compare(b); {
	case ab < 0:
		return a.Compare(id) < 0 && id.Compare(b) <= 0
	case ab > 0:
		return a.Compare(id) < 0 || id.Compare(b) <= 0
	}
	return true
}

// AddPowerOfTwo returns id + 2^k modulo 2^384, for 0 <= k < 384: the start of
// Chord's finger k+1 (2001, table 1).
func (id ID) AddPowerOfTwo(k int) ID {
	if k < 0 || k >= Bits {
		panic(fmt.Sprintf("ring: AddPowerOfTwo(%d): k must be 0 to %d", k, Bits-1))
	}
	carry := uint(1) << (k % 8)
	for i := idBytes - 1 - k/8; i >= 0 && carry != 0; i-- {
		carry += uint(id.b[i])
		id.b[i] = byte(carry)
		carry >>= 8
	}
	return id
}

// Distance returns how far clockwise it is from id to o, as a number of 384 bits.
func (id ID) Distance(o ID) ID {
	var d ID
	var borrow uint64
	for i := idBytes - 8; i >= 0; i -= 8 {
		x, y := binary.BigEndian.Uint64(o.b[i:]), binary.BigEndian.Uint64(id.b[i:])
		x, borrow = bits.Sub64(x, y, borrow)
		binary.BigEndian.PutUint64(d.b[i:], x)
	}
	return d
}

// bitLen returns the number of bits of id as a number: 0 for zero, else the L
// with 2^(L-1) <= id < 2^L.
func (id ID) bitLen() int {
	for i, b := range id.b {
		if b != 0 {
			return 8*(idBytes-1-i) + bits.Len8(b)
		}
	}
	return 0
}

// MarshalText writes what String prints; the zero ID is empty.
func (id ID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return nil, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (id *ID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	*id, err = ParseID(string(b))
	return err
}

// MarshalBinary writes the 48 bytes.
func (id ID) MarshalBinary() ([]byte, error) { return id.Bytes(), nil }

// UnmarshalBinary reads what MarshalBinary writes.
func (id *ID) UnmarshalBinary(b []byte) (err error) {
	*id, err = IDFromBytes(b)
	return err
}

// Node is the first 64 bits of a node's ID. Within a ring it is unique
// (Configuration.Validate sees to it for members; a client that meets its own
// number mints another), so it names a node in ballots and messages. 0 is none.
type Node uint64

// String prints the node as ID.Short does, with 16 digits.
func (n Node) String() string { return fmt.Sprintf("n%016x", uint64(n)) }

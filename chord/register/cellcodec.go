package register

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// The encoding of a cell, on disk and on the wire. All numbers are unsigned
// varints except nodes, which are 8 bytes big-endian:
//
//	version 1
//	accepted: time, node
//	flags: bit 0 live
//	create, host flags
//	lineage: count, then (write time, write node, op time, op node) each
//	data: the rest
const cellVersion = 1

const cellLive = 1

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

// DecodeCell reads what AppendCell wrote. The cell's data is a slice of b.
func DecodeCell(b []byte) (Cell, error) {
	var c Cell
	d := decoder{b: b}
	if v := d.byte(); d.err == nil && v != cellVersion {
		return c, fmt.Errorf("register: cell of encoding version %d; this build reads version %d", v, cellVersion)
	}
	c.Accepted = d.ballot()
	c.Value = d.value()
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
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, v.Create)
	dst = binary.AppendUvarint(dst, v.Flags)
	dst = binary.AppendUvarint(dst, uint64(len(v.Lineage)))
	for _, p := range v.Lineage {
		dst = appendBallot(dst, p.Write)
		dst = appendBallot(dst, p.Op)
	}
	return append(dst, v.Data...)
}

// decoder reads fields and keeps the first error.
type decoder struct {
	b   []byte
	err error
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

func (d *decoder) ballot() Ballot { return Ballot{Time: d.time(), Node: d.node()} }

// value reads a value whose data is the rest of the input.
func (d *decoder) value() Value {
	var v Value
	flags := d.byte()
	if flags&^cellLive != 0 {
		d.fail(fmt.Errorf("unknown flags %#x; a newer build wrote this", flags))
	}
	v.Live = flags&cellLive != 0
	v.Create = d.time()
	v.Flags = d.uvarint()
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

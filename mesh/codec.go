package mesh

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// handle is go-msgpack's configuration. WriteExt: the current msgpack, which
// tells bin from str.
var handle = func() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.MaxInitLen = 1 << 10 // of a slice or map, before its elements arrived
	return h
}()

// packer is a kept encoder and its buffer.
type packer struct {
	enc *codec.Encoder
	buf []byte
}

var packers = sync.Pool{New: func() any {
	return &packer{enc: codec.NewEncoder(nil, handle)}
}}

var unpackers = sync.Pool{New: func() any { return codec.NewDecoderBytes(nil, handle) }}

// pack encodes v; the bytes are valid until release.
func (p *packer) pack(v any) ([]byte, error) {
	p.enc.ResetBytes(&p.buf)
	if err := p.enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return p.buf, nil
}

func (p *packer) release() {
	if cap(p.buf) > keepBuffer {
		p.buf = nil
	}
	packers.Put(p)
}

// Marshal encodes v as msgpack, as Call does with a request. Small structs are
// best marked `codec:",toarray"`.
func Marshal(v any) ([]byte, error) {
	p := packers.Get().(*packer)
	defer p.release()
	b, err := p.pack(v)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), b...), nil
}

// Unmarshal decodes what Marshal encodes into *v. It keeps nothing of b.
func Unmarshal(b []byte, v any) error {
	d := unpackers.Get().(*codec.Decoder)
	defer unpackers.Put(d)
	d.ResetBytes(b)
	err := d.Decode(v)
	n := d.NumBytesRead()
	d.ResetBytes(nil) // do not keep b alive in the pool
	if err != nil {
		return fmt.Errorf("%w body, decoded as %T: %w", ErrMalformed, v, err)
	}
	if n != len(b) {
		return fmt.Errorf("%w body, decoded as %T: %d bytes left over", ErrMalformed, v, len(b)-n)
	}
	return nil
}

// Decoder is the body of a request. It is valid until the handler returns.
type Decoder struct{ b []byte }

// Decode decodes the body into *v, which keeps nothing of the body.
func (d Decoder) Decode(v any) error {
	if p, ok := v.(*[]byte); ok {
		b, err := d.Bytes()
		if err == nil {
			*p = append([]byte{}, b...)
		}
		return err
	}
	return Unmarshal(d.b, v)
}

// Bytes returns a body that was sent as []byte, without copying it: the bytes
// are valid until the handler returns.
func (d Decoder) Bytes() ([]byte, error) { return unwrapBin(d.b) }

// msgpack's bin 8, bin 16 and bin 32.
const (
	bin8  = 0xc4
	bin16 = 0xc5
	bin32 = 0xc6
)

// binHeader returns the bytes before n bytes of a msgpack bin.
func binHeader(n int) int {
	switch {
	case n < 1<<8:
		return 2
	case n < 1<<16:
		return 3
	}
	return 5
}

func appendBinHeader(dst []byte, n int) []byte {
	switch {
	case n < 1<<8:
		return append(dst, bin8, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, bin16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, bin32), uint32(n))
}

// unwrapBin returns the bytes of a body that is exactly one msgpack bin.
func unwrapBin(b []byte) ([]byte, error) {
	if len(b) < 2 {
		return nil, fmt.Errorf("%w body of %d bytes, want a msgpack bin", ErrMalformed, len(b))
	}
	var n, head int
	switch {
	case b[0] == bin8:
		n, head = int(b[1]), 2
	case b[0] == bin16 && len(b) >= 3:
		n, head = int(binary.BigEndian.Uint16(b[1:])), 3
	case b[0] == bin32 && len(b) >= 5:
		n, head = int(binary.BigEndian.Uint32(b[1:])), 5
	default:
		return nil, fmt.Errorf("%w body: byte 0x%02x does not begin a msgpack bin", ErrMalformed, b[0])
	}
	if len(b)-head != n {
		return nil, fmt.Errorf("%w body: a msgpack bin of %d bytes in %d", ErrMalformed, n, len(b)-head)
	}
	return b[head:], nil
}

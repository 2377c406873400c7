package mesh

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Type names a message of the user of the mesh. Sends and calls have a set of
// types each.
type Type uint8

// kind is what a frame is to the mesh. Append only: they travel.
type kind uint8

const (
	kindHello         kind = 1 + iota // handshake: who I am
	kindRefusal                       // the last frame: why the connection is closed
	kindGoodbye                       // the last frame: closed on purpose
	kindPing                          // request ID: the sender's clock, echoed by pong
	kindPong                          //
	kindPeers                         // the peers the sender knows
	kindRing                          // the sender's ring ID and epoch changed
	kindSend                          // one way
	kindRequest                       // a call; the body begins with the remaining time
	kindResponse                      // what the handler returned
	kindFailure                       // the error the handler returned
	kindUndeliverable                 // a relay had no route for the request
	kindCancel                        // the caller no longer waits
	kindRelay                         // an envelope
	kindEnd
)

const (
	lengthBytes = 4
	// headerBytes are the bytes of a frame after its length and before its body.
	headerBytes = 1 + 1 + 8
	// timeoutBytes precede the body of a request: the remaining nanoseconds.
	timeoutBytes = 8
	// readChunk is the first size of a read buffer, and what is allocated ahead of data that arrived.
	readChunk = 32 << 10
	// keepBuffer is the largest buffer that a connection keeps while it is idle.
	keepBuffer = 256 << 10
	// maxCallTime bounds the remaining time that a request may claim.
	maxCallTime = time.Hour
)

// frame is a frame that was read. Its body is part of the read buffer.
type frame struct {
	kind    kind
	typ     Type
	request uint64
	timeout time.Duration // kindRequest only
	body    []byte
}

// parseFrame reads what outgoing.append writes, without the length.
func parseFrame(b []byte) (frame, error) {
	if len(b) < headerBytes {
		return frame{}, fmt.Errorf("%w frame of %d bytes", ErrMalformed, len(b))
	}
	f := frame{kind: kind(b[0]), typ: Type(b[1]), request: binary.BigEndian.Uint64(b[2:]), body: b[headerBytes:]}
	if f.kind == 0 || f.kind >= kindEnd {
		return frame{}, fmt.Errorf("%w frame: unknown kind %d", ErrMalformed, f.kind)
	}
	if f.kind == kindRequest {
		if len(f.body) < timeoutBytes {
			return frame{}, fmt.Errorf("%w request without a deadline", ErrMalformed)
		}
		t := binary.BigEndian.Uint64(f.body)
		if t == 0 || t > uint64(maxCallTime) {
			return frame{}, fmt.Errorf("%w request with %d ns left; allowed are 1 ns to %s", ErrMalformed, t, maxCallTime)
		}
		f.timeout, f.body = time.Duration(t), f.body[timeoutBytes:]
	}
	return f, nil
}

// outgoing is a frame to be written, in an envelope if relay is set.
type outgoing struct {
	kind    kind
	typ     Type
	request uint64
	timeout time.Duration
	// bin: body is the user's bytes and becomes one msgpack bin; else it is written as it is.
	bin   bool
	body  []byte
	relay *envelope
}

// size returns the number of bytes that append adds, its length included.
func (o *outgoing) size() int {
	n := lengthBytes + headerBytes + len(o.body)
	if o.kind == kindRequest {
		n += timeoutBytes
	}
	if o.bin {
		n += binHeader(len(o.body))
	}
	if o.relay != nil {
		n += headerBytes + envelopeBytes
	}
	return n
}

// append writes the frame behind dst.
func (o *outgoing) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(o.size()-lengthBytes))
	if o.relay != nil {
		dst = append(dst, byte(kindRelay), 0)
		dst = binary.BigEndian.AppendUint64(dst, 0)
		dst = o.relay.append(dst)
	}
	dst = append(dst, byte(o.kind), byte(o.typ))
	dst = binary.BigEndian.AppendUint64(dst, o.request)
	if o.kind == kindRequest {
		dst = binary.BigEndian.AppendUint64(dst, uint64(o.timeout))
	}
	if o.bin {
		dst = appendBinHeader(dst, len(o.body))
	}
	return append(dst, o.body...)
}

// frameReader cuts a stream into frames. Its buffer grows with the data that
// arrived, never with the length that a frame claims.
type frameReader struct {
	r        io.Reader
	max      int    // largest frame, without the length
	onRead   func() // after each read that brought bytes
	buf      []byte
	off, end int // the unread bytes of buf
}

func newFrameReader(r io.Reader, limit int) *frameReader {
	return &frameReader{r: r, max: limit, onRead: func() {}, buf: make([]byte, readChunk)}
}

// next returns the next frame without its length; the bytes are valid until the
// next call. io.EOF means that the stream ended between two frames.
func (fr *frameReader) next() ([]byte, error) {
	if err := fr.need(lengthBytes); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(fr.buf[fr.off:]))
	if n < headerBytes {
		return nil, fmt.Errorf("%w frame: length %d is less than a header", ErrMalformed, n)
	}
	if n > fr.max {
		return nil, fmt.Errorf("%w frame: length %d is more than the limit of %d", ErrMalformed, n, fr.max)
	}
	if err := fr.need(lengthBytes + n); err != nil {
		return nil, noEOF(err)
	}
	b := fr.buf[fr.off+lengthBytes : fr.off+lengthBytes+n]
	fr.off += lengthBytes + n
	return b, nil
}

// take returns the next n bytes, n at most readChunk.
func (fr *frameReader) take(n int) ([]byte, error) {
	if err := fr.need(n); err != nil {
		return nil, err
	}
	fr.off += n
	return fr.buf[fr.off-n : fr.off], nil
}

// buffered reports whether next can look at more bytes without a read.
func (fr *frameReader) buffered() bool { return fr.end > fr.off }

// need reads until n unread bytes are there.
func (fr *frameReader) need(n int) error {
	for empty := 0; fr.end-fr.off < n; {
		if fr.off == fr.end {
			fr.off, fr.end = 0, 0
			if len(fr.buf) > keepBuffer && n <= readChunk {
				fr.buf = make([]byte, readChunk)
			}
		}
		if fr.off > 0 && fr.off+n > len(fr.buf) {
			fr.end = copy(fr.buf, fr.buf[fr.off:fr.end])
			fr.off = 0
		}
		if fr.end == len(fr.buf) {
			grown := make([]byte, min(n, 2*len(fr.buf)))
			copy(grown, fr.buf[:fr.end])
			fr.buf = grown
		}
		got, err := fr.r.Read(fr.buf[fr.end:])
		fr.end += got
		if got > 0 {
			fr.onRead()
			empty = 0
			continue
		}
		if err != nil {
			if fr.end > fr.off {
				return noEOF(err)
			}
			return err
		}
		if empty++; empty == 100 {
			return io.ErrNoProgress
		}
	}
	return nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

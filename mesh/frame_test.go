package mesh

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

func TestFrameRoundTrip(t *testing.T) {
	id := ring.NodeID([]byte("x"))
	for _, o := range []outgoing{
		{kind: kindSend, typ: 3, bin: true, body: []byte("hello")},
		{kind: kindSend, typ: 3, bin: true, body: make([]byte, 70000)},
		{kind: kindRequest, typ: 255, request: 1 << 63, timeout: time.Second, body: []byte{0xc0}},
		{kind: kindPing, request: 9},
		{kind: kindRequest, request: 7, timeout: 1, bin: true, body: make([]byte, 300), relay: &envelope{to: id, from: id, hops: 4}},
	} {
		b := o.append(nil)
		require.Equal(t, o.size(), len(b))
		for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b)), iotest.DataErrReader(bytes.NewReader(b))} {
			in := newFrameReader(r, 1<<20)
			payload, err := in.next()
			require.NoError(t, err)
			f, err := parseFrame(payload)
			require.NoError(t, err)
			if o.relay != nil {
				var e envelope
				e, f, err = openEnvelope(f.body)
				require.NoError(t, err)
				require.Equal(t, *o.relay, e)
			}
			require.Equal(t, o.kind, f.kind)
			require.Equal(t, o.typ, f.typ)
			require.Equal(t, o.request, f.request)
			require.Equal(t, o.timeout, f.timeout)
			body := f.body
			if o.bin {
				body, err = unwrapBin(f.body)
				require.NoError(t, err)
			}
			require.True(t, bytes.Equal(o.body, body))
			_, err = in.next()
			require.Equal(t, io.EOF, err)
		}
	}
}

// TestClaimedLength: a length that is claimed allocates nothing before the data comes.
func TestClaimedLength(t *testing.T) {
	in := newFrameReader(strings.NewReader("\x01\x00\x00\x00"+strings.Repeat("x", 40000)), 16<<20)
	_, err := in.next()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.LessOrEqual(t, len(in.buf), 2*(40004+readChunk))
	for _, length := range []string{"\x01\x00\x00\x01", "\x00\x00\x00\x09", "\xff\xff\xff\xff"} {
		in = newFrameReader(strings.NewReader(length), 16<<20)
		_, err = in.next()
		require.ErrorIs(t, err, ErrMalformed)
	}
	in = newFrameReader(iotest.ErrReader(errors.New("boom")), 16)
	_, err = in.next()
	require.ErrorContains(t, err, "boom")
}

// TestLargeBufferIsGivenBack: after a large frame the buffer shrinks again.
func TestLargeBufferIsGivenBack(t *testing.T) {
	large := outgoing{kind: kindSend, bin: true, body: make([]byte, 8<<20)}
	small := outgoing{kind: kindPing}
	r, w := io.Pipe()
	go func() {
		_, err := w.Write(large.append(nil))
		if err == nil {
			_, err = w.Write(small.append(nil))
		}
		w.CloseWithError(err)
	}()
	in := newFrameReader(r, 16<<20)
	_, err := in.next()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(in.buf), 8<<20)
	_, err = in.next()
	require.NoError(t, err)
	require.Equal(t, readChunk, len(in.buf))
	_, err = in.next()
	require.Equal(t, io.EOF, err)
}

func TestUnmarshalKeepsNothing(t *testing.T) {
	b, err := Marshal(&point{Name: "n", Value: []byte("value")})
	require.NoError(t, err)
	var p point
	require.NoError(t, Unmarshal(b, &p))
	clear(b)
	require.Equal(t, "value", string(p.Value))
	require.Equal(t, "n", p.Name)
	require.ErrorContains(t, Unmarshal([]byte{1, 2}, new(int)), "1 bytes left over")
}

// FuzzFrame feeds any bytes to everything that reads from the network. Nothing
// panics, no buffer outgrows what arrived, and a frame that is accepted is
// written again as the same bytes.
func FuzzFrame(f *testing.F) {
	id := ring.NodeID([]byte("x"))
	me := Peer{ID: id, Name: "x", Addr: "127.0.0.1:1", Role: RoleMember}
	seed := func(b []byte, err error) {
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(appendHello(nil, &hello{Min: 1, Max: 1, Peer: me, Boot: 1, Seq: 2, Want: id}))
	seed(appendRefusal(nil, me, refuse(RefusedRing, "no"), true))
	for _, o := range []outgoing{
		{kind: kindSend, typ: 1, bin: true, body: []byte("hello")},
		{kind: kindRequest, request: 1, timeout: time.Second, bin: true, body: []byte("hello")},
		{kind: kindRequest, request: 1, timeout: time.Second, body: []byte{0x90}, relay: &envelope{to: id, from: id, hops: 3}},
		{kind: kindPeers, body: []byte{0xdd, 0xff, 0xff, 0xff, 0xff}},
		{kind: kindFailure, body: []byte{0x92, 1, 0xa1, 'x'}},
		{kind: kindGoodbye},
	} {
		seed(o.append(nil), nil)
	}
	f.Add([]byte("\x7f\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, r, err := readHello(newFrameReader(bytes.NewReader(data), maxHello)); err == nil && (h == nil) == (r == nil) {
			t.Fatal("neither hello nor refusal, or both")
		}
		in := newFrameReader(iotest.HalfReader(bytes.NewReader(data)), 1<<20)
		for {
			payload, err := in.next()
			if len(in.buf) > 2*(len(data)+readChunk) {
				t.Fatalf("a buffer of %d for %d bytes", len(in.buf), len(data))
			}
			if err != nil {
				return
			}
			frame, err := parseFrame(payload)
			if err != nil {
				continue
			}
			again := outgoing{kind: frame.kind, typ: frame.typ, request: frame.request, timeout: frame.timeout, body: frame.body}
			if b := again.append(nil); !bytes.Equal(b[lengthBytes:], payload) || len(b) != again.size() {
				t.Fatalf("%x was written as %x", payload, b)
			}
			if b, err := unwrapBin(frame.body); err == nil {
				if w := append(appendBinHeader(nil, len(b)), b...); len(w) > len(frame.body) {
					t.Fatalf("%x was wrapped as %x", frame.body, w)
				}
			}
			switch frame.kind {
			case kindRelay:
				if e, _, err := openEnvelope(frame.body); err == nil && !bytes.Equal(e.append(nil), frame.body[:envelopeBytes]) {
					t.Fatalf("envelope %x", frame.body)
				}
			case kindPeers:
				var p []Peer
				_ = Unmarshal(frame.body, &p)
			case kindFailure:
				_ = Unmarshal(frame.body, new(RemoteError))
			case kindRefusal:
				_, _ = readRefusal(frame)
			}
		}
	})
}

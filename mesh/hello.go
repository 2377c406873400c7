package mesh

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// The protocol versions that this build speaks.
const (
	minProtocol = 1
	maxProtocol = 1
)

// magic begins the stream in both directions.
const magic = "\x00chord1\n"

// maxHello bounds a frame of the handshake.
const maxHello = 4096

// hello is what both sides of a connection say first. It is a msgpack map, so
// that fields can be added: a reader skips what it does not know.
type hello struct {
	Min, Max uint16 // protocol versions spoken
	Peer     Peer
	// Boot is drawn at random by each process.
	Boot uint64
	// Seq numbers the hellos of a process: of two connections the one with the
	// later hello is the newer one.
	Seq uint64
	// Want is whom the dialler expects; zero in the answer.
	Want ring.ID
}

// refusal is the last frame of a connection that cannot be.
type refusal struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`
	Reason  Refusal
	Text    string
	Peer    Peer // who refuses, so that a dialler finds out who lives at an address
}

// check says why the node that said own cannot have a connection with the one
// that said theirs, or nil. It is the same at both ends; at the dialler want is
// whom it dialled, at the other end it is zero.
func (own *hello) check(theirs *hello, want ring.ID) *RefusedError {
	me, p := own.Peer, theirs.Peer
	if err := p.validate(); err != nil {
		return refuse(RefusedMalformed, "%v", err)
	}
	switch {
	case max(own.Min, theirs.Min) > min(own.Max, theirs.Max):
		return refuse(RefusedProtocol, "%s speaks mesh protocol %d to %d and %s %d to %d; run versions that overlap",
			p, theirs.Min, theirs.Max, me, own.Min, own.Max)
	case p.ID == me.ID && theirs.Boot == own.Boot:
		return refuse(RefusedSelf, "%s dialled itself; leave its own address out of the peers", me)
	case p.ID == me.ID:
		return refuse(RefusedSameID, "%s and %s run with the same node ID; a data directory must not be copied or used twice", p, me)
	case p.ID.Node() == me.ID.Node():
		return refuse(RefusedCollision, "%s and %s share the first 64 bits of their IDs; start one of them with an empty data directory", p, me)
	case !theirs.Want.IsZero() && theirs.Want != me.ID:
		return refuse(RefusedWrongNode, "%s wants %s, but here is %s", p, theirs.Want.Short(), me)
	case !want.IsZero() && want != p.ID:
		return refuse(RefusedWrongNode, "%s wants %s, but there is %s", me, want.Short(), p)
	}
	return sameRing(me, p)
}

// sameRing refuses a peer of another ring. A node without a ring may talk to all.
func sameRing(me, p Peer) *RefusedError {
	if me.RingID != "" && p.RingID != "" && me.RingID != p.RingID {
		return refuse(RefusedRing, "%s belongs to ring %s and %s to ring %s; rings never merge", p, p.RingID, me, me.RingID)
	}
	return nil
}

// readHello reads the handshake's frame from the other side: its hello, or the
// RefusedError it sent.
func readHello(in *frameReader) (*hello, *refusal, error) {
	b, err := in.take(len(magic))
	switch {
	case err == nil && string(b) != magic:
		if b[0] == 0x16 || b[0] == 0x15 {
			return nil, nil, fmt.Errorf("%w hello: it speaks TLS; set up TLS here too, or on neither side", ErrMalformed)
		}
		return nil, nil, fmt.Errorf("%w hello: no node of a chord mesh (it sent %q)", ErrMalformed, b)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return nil, nil, fmt.Errorf("the peer closed the connection without a hello: it may want TLS, or not be a mesh node: %w", err)
	case err != nil:
		return nil, nil, fmt.Errorf("wait for the peer's hello: %w", err)
	}
	if b, err = in.next(); err != nil {
		return nil, nil, fmt.Errorf("read the peer's hello: %w", err)
	}
	f, err := parseFrame(b)
	if err != nil {
		return nil, nil, err
	}
	switch f.kind {
	case kindHello:
		h := new(hello)
		if err := Unmarshal(f.body, h); err != nil {
			return nil, nil, fmt.Errorf("the peer's hello: %w", err)
		}
		return h, nil, nil
	case kindRefusal:
		r, err := readRefusal(f)
		return nil, r, err
	}
	return nil, nil, fmt.Errorf("%w hello: a frame of kind %d", ErrMalformed, f.kind)
}

func readRefusal(f frame) (*refusal, error) {
	r := new(refusal)
	if err := Unmarshal(f.body, r); err != nil {
		return nil, fmt.Errorf("the peer's refusal: %w", err)
	}
	r.Text = r.Text[:min(len(r.Text), 4*maxText)]
	return r, nil
}

func (r *refusal) error() *RefusedError {
	return &RefusedError{Reason: r.Reason, Text: r.Text, Remote: true}
}

// appendHello writes what a connection begins with.
func appendHello(dst []byte, h *hello) ([]byte, error) {
	b, err := Marshal(h)
	if err != nil {
		return nil, err
	}
	o := outgoing{kind: kindHello, body: b}
	return o.append(append(dst, magic...)), nil
}

// appendRefusal writes a refusal; first: no hello went before.
func appendRefusal(dst []byte, me Peer, r *RefusedError, first bool) ([]byte, error) {
	b, err := Marshal(&refusal{Reason: r.Reason, Text: r.Text, Peer: me})
	if err != nil {
		return nil, err
	}
	if first {
		dst = append(dst, magic...)
	}
	o := outgoing{kind: kindRefusal, body: b}
	return o.append(dst), nil
}

package mesh

import (
	"fmt"
	"sync"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

const (
	idBytes = ring.Bits / 8
	// envelopeBytes precede the frame in a relay envelope: to, from, hops left.
	envelopeBytes = 2*idBytes + 1
)

// envelope carries a frame to a node that the sender has no connection to.
type envelope struct {
	to, from ring.ID
	hops     uint8 // connections it may still take after this one
}

func (e *envelope) append(dst []byte) []byte {
	dst = append(append(dst, e.to.Bytes()...), e.from.Bytes()...)
	return append(dst, e.hops)
}

// openEnvelope returns the envelope and the frame in it.
func openEnvelope(body []byte) (envelope, frame, error) {
	if len(body) < envelopeBytes {
		return envelope{}, frame{}, fmt.Errorf("%w envelope of %d bytes", ErrMalformed, len(body))
	}
	to, err := ring.IDFromBytes(body[:idBytes])
	if err != nil {
		return envelope{}, frame{}, err
	}
	from, err := ring.IDFromBytes(body[idBytes : 2*idBytes])
	if err != nil {
		return envelope{}, frame{}, err
	}
	inner, err := parseFrame(body[envelopeBytes:])
	if err != nil {
		return envelope{}, frame{}, fmt.Errorf("in an envelope: %w", err)
	}
	switch inner.kind {
	case kindSend, kindRequest, kindResponse, kindFailure, kindUndeliverable, kindCancel:
	default:
		return envelope{}, frame{}, fmt.Errorf("%w envelope: a frame of kind %d is not relayed", ErrMalformed, inner.kind)
	}
	return envelope{to: to, from: from, hops: body[2*idBytes]}, inner, nil
}

// learned remembers over which connection frames of a node came, as a bridge
// does. It is how an answer finds a client, which no member routes to.
type learned struct {
	mu     sync.RWMutex
	routes map[ring.Node]learnedRoute
}

type learnedRoute struct {
	id  ring.ID
	via *Conn
}

func (l *learned) get(node ring.Node) (learnedRoute, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r, ok := l.routes[node]
	return r, ok
}

func (l *learned) put(id ring.ID, via *Conn) {
	r := learnedRoute{id, via}
	if old, ok := l.get(id.Node()); ok && old == r {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.routes[id.Node()]; !ok && len(l.routes) >= maxLearned {
		for node := range l.routes { // any: it is learned again when needed
			delete(l.routes, node)
			break
		}
	}
	l.routes[id.Node()] = r
}

func (l *learned) drop(id ring.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.routes, id.Node())
}

// forgetRoutes drops the routes over a connection that is gone.
func (m *Mesh) forgetRoutes(c *Conn) {
	l := &m.learned
	l.mu.Lock()
	defer l.mu.Unlock()
	for node, r := range l.routes {
		if r.via == c {
			delete(l.routes, node)
		}
	}
}

// route returns the connection for a node, and the envelope if it is not the
// node's own. The connection is nil if there is none.
func (m *Mesh) route(to ring.Node) (*Conn, *envelope) {
	t := m.table.Load()
	if c := t.direct[to]; c != nil {
		return c, nil
	}
	known, isKnown := t.known[to]
	id := known.ID
	if !isKnown {
		r, ok := m.learned.get(to)
		if !ok {
			return nil, nil
		}
		id = r.id
	}
	c := m.hop(t, id)
	if c == nil {
		return nil, nil
	}
	return c, &envelope{to: id, from: m.cfg.ID, hops: uint8(m.cfg.MaxHops - 1)}
}

// hop returns the connection on which a frame for id goes next, or nil. To a
// member that is Chord's closest preceding node, which is nearer to id than we
// are, so that there is no loop; to a client the way that its frames came.
func (m *Mesh) hop(t *table, id ring.ID) *Conn {
	if c := t.direct[id.Node()]; c != nil && c.id == id {
		return c
	}
	p, isKnown := t.known[id.Node()]
	r, isLearned := m.learned.get(id.Node())
	isLearned = isLearned && r.id == id
	if isLearned && (!isKnown || p.Role == RoleClient) {
		return r.via
	}
	if next, ok := ring.NextHop(m.cfg.ID, t.members, id); ok {
		return t.direct[next.Node()]
	}
	if isLearned {
		return r.via
	}
	return nil
}

// relay takes an envelope: it is for us, or goes on.
func (m *Mesh) relay(c *Conn, body []byte) error {
	e, inner, err := openEnvelope(body)
	if err != nil {
		return err
	}
	if e.from == m.cfg.ID || e.from.Node() == 0 {
		m.stats.relayDropped.Add(1) // went in a circle
		return nil
	}
	m.learned.put(e.from, c)
	if e.to == m.cfg.ID {
		m.stats.hops.Add(uint64(m.cfg.MaxHops - int(e.hops)))
		m.stats.relayReceived.Add(1)
		m.deliver(nil, e.from, inner)
		return nil
	}
	next := m.hop(m.table.Load(), e.to)
	if e.hops > 0 && next != nil && next != c {
		body[2*idBytes] = e.hops - 1
		if err = next.enqueue(&outgoing{kind: kindRelay, body: body}); err == nil {
			m.stats.relayed.Add(1)
			return nil
		}
	}
	m.stats.relayDropped.Add(1)
	if inner.kind == kindRequest {
		back := &outgoing{kind: kindUndeliverable, request: inner.request,
			relay: &envelope{to: e.from, from: m.cfg.ID, hops: uint8(m.cfg.MaxHops - 1)}}
		if r, ok := m.learned.get(e.from.Node()); ok {
			_ = r.via.enqueue(back) // best effort: the caller has a deadline
		}
	}
	return nil
}

package mesh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Mesh is a node's connections to the other nodes of its ring. All methods may
// be called concurrently.
type Mesh struct {
	cfg      Config
	node     ring.Node
	log      hclog.Logger
	boot     uint64
	began    time.Time
	protocol [2]uint16 // versions spoken, least and most
	listener net.Listener
	sends    [256]sendHandler // fixed at Start
	calls    [256]callHandler // fixed at Start
	stats    counters
	emitted  Stats // what the metrics sink has
	table    atomic.Pointer[table]
	pending  pendingCalls
	serving  serving
	learned  learned
	warned   warned
	loopback chan loopedSend
	dialWake chan struct{}

	ctx  context.Context // ends when the mesh is closed
	stop context.CancelFunc
	wg   sync.WaitGroup // all goroutines

	mu          sync.Mutex
	peer        Peer // ourselves
	seq         uint64
	started     bool
	closing     bool
	conns       map[ring.Node]*Conn
	candidates  map[ring.ID]*candidate
	forgotten   map[ring.ID]time.Duration // when Forget was called
	awaiting    map[net.Conn]struct{}     // incoming, in their handshake
	outdated    bool                      // ranking and neighbours are
	ranking     []ring.ID                 // whom to dial, best first
	neighbours  map[ring.ID]bool          // successors and fingers
	changed     []ring.Node               // for the notifier
	changedCond sync.Cond
}

type loopedSend struct {
	t    Type
	body []byte
}

// New checks the configuration and takes the listening address; nothing is
// accepted, dialled or sent before Start.
func New(cfg Config) (*Mesh, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	m := &Mesh{
		cfg: cfg, node: cfg.ID.Node(), log: cfg.Logger, boot: rand.Uint64(), began: time.Now(),
		protocol: [2]uint16{minProtocol, maxProtocol},
		pending:  pendingCalls{next: rand.Uint64(), m: map[uint64]*call{}},
		serving:  serving{running: map[servedKey]served{}, work: make(chan job)},
		learned:  learned{routes: map[ring.Node]learnedRoute{}},
		loopback: make(chan loopedSend, loopbackQueue),
		dialWake: make(chan struct{}, 1),
		conns:    map[ring.Node]*Conn{}, candidates: map[ring.ID]*candidate{}, forgotten: map[ring.ID]time.Duration{}, awaiting: map[net.Conn]struct{}{},
		listener: cfg.Listener,
	}
	m.changedCond.L = &m.mu
	if m.listener == nil && cfg.BindAddr != "" {
		var err error
		if m.listener, err = net.Listen("tcp", cfg.BindAddr); err != nil {
			return nil, listenError(cfg.BindAddr, err)
		}
	}
	addr, err := cfg.advertised(m.Addr())
	if err == nil {
		m.peer = Peer{ID: cfg.ID, Name: cfg.Name, Addr: addr, Role: cfg.Role, RingID: cfg.RingID, Epoch: cfg.Epoch}
		if err = m.peer.validate(); err != nil {
			err = fmt.Errorf("mesh: %w", err)
		}
	}
	if err != nil {
		if m.listener != nil {
			m.listener.Close()
		}
		return nil, err
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	m.publish()
	return m, nil
}

func listenError(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("mesh: cannot listen at %s: another program, or another node, uses this port; stop it or choose another bind address: %w", addr, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("mesh: cannot listen at %s: this machine does not have that address; choose one that it has: %w", addr, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("mesh: cannot listen at %s: not permitted; choose a port above 1023: %w", addr, err)
	}
	return fmt.Errorf("mesh: cannot listen at %s: %w", addr, err)
}

// Start begins to accept, dial and serve. Handlers are registered before.
func (m *Mesh) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started || m.closing {
		return fmt.Errorf("mesh: started twice, or after it was closed: %w", ErrClosed)
	}
	m.started = true
	for _, run := range []func(){m.dialler, m.keepAlive, m.notify, m.loop} {
		m.wg.Add(1)
		go run()
	}
	if m.listener != nil {
		m.wg.Add(1)
		go m.listen()
	}
	return nil
}

// Close says goodbye to all peers, writes what is queued for at most closeFlush,
// ends the contexts of running handlers, and waits for all goroutines.
// Closing again does nothing.
func (m *Mesh) Close() error {
	m.mu.Lock()
	if m.closing {
		m.mu.Unlock()
		m.wg.Wait()
		return nil
	}
	m.closing = true
	for _, c := range m.conns {
		c.goodbye(ErrClosed)
	}
	m.changedCond.Signal()
	m.mu.Unlock()
	m.stop()
	var err error
	if m.listener != nil {
		if err = m.listener.Close(); errors.Is(err, net.ErrClosed) {
			err = nil
		}
	}
	m.wg.Wait()
	m.emit()
	if err != nil {
		return fmt.Errorf("mesh: close the listener at %s: %w", m.Addr(), err)
	}
	return nil
}

// Addr returns the address at which the mesh listens, with the port that it got,
// or "" if it does not listen.
func (m *Mesh) Addr() string {
	if m.listener == nil {
		return ""
	}
	return m.listener.Addr().String()
}

// Advertised returns the address at which others dial the mesh, as they are told it; ""
// if it does not listen.
func (m *Mesh) Advertised() string { return m.self().Addr }

// self returns what we say of ourselves.
func (m *Mesh) self() Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peer
}

// now is the mesh's monotonic clock. It is never 0.
func (m *Mesh) now() time.Duration { return time.Since(m.began) + 1 }

// SetRing tells the mesh, and through it all peers, which ring the node is in and
// its epoch. Peers of another ring are refused from then on.
func (m *Mesh) SetRing(id ring.RingID, epoch uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.peer.RingID == id && m.peer.Epoch == epoch {
		return
	}
	m.peer.RingID, m.peer.Epoch = id, epoch
	me := m.peer
	b, err := Marshal(&me)
	if err != nil {
		m.log.Error("ring message", "error", err)
		return
	}
	for _, c := range m.conns {
		if r := sameRing(me, c.Peer()); r != nil {
			m.part(c, r)
		} else if err := c.enqueue(&outgoing{kind: kindRing, body: b}); errors.Is(err, ErrQueueFull) {
			// It would go on with an old ring ID: let it shake hands again.
			c.close(fmt.Errorf("tell the ring's ID: %w", err))
		}
	}
	m.publish()
	m.wakeDialler()
}

// part closes the connection to a peer of another ring. Called with m.mu held.
func (m *Mesh) part(c *Conn, r *RefusedError) {
	b, err := Marshal(&refusal{Reason: r.Reason, Text: r.Text, Peer: m.peer})
	if err != nil {
		c.close(fmt.Errorf("%w (and it could not be told: %w)", r, err))
		return
	}
	c.part(&outgoing{kind: kindRefusal, body: b}, r)
}

// takeRing reads a peer's news of its ring.
func (m *Mesh) takeRing(c *Conn, body []byte) error {
	var p Peer
	if err := Unmarshal(body, &p); err != nil {
		return fmt.Errorf("ring message: %w", err)
	}
	if err := p.validate(); err != nil {
		return fmt.Errorf("%w ring message of %s: %w", ErrMalformed, c.Peer(), err)
	}
	if p.ID != c.id {
		return fmt.Errorf("%w ring message of %s: it speaks for %s", ErrMalformed, c.Peer(), p)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c.peer.Store(&p)
	if cand := m.candidates[c.id]; cand != nil {
		cand.peer.RingID, cand.peer.Epoch = p.RingID, p.Epoch
	}
	if r := sameRing(m.peer, p); r != nil {
		m.part(c, r)
		return r
	}
	m.publish()
	return nil
}

// Send queues a message for a node and returns at once. It is delivered at most
// once, and nobody says whether it was: the connection may break. Errors say
// that it was not sent: ErrNoRoute, ErrQueueFull, ErrTooLarge, ErrClosed. A send
// to ourselves is handled by a goroutine of its own.
func (m *Mesh) Send(to ring.Node, t Type, body []byte) error {
	o := outgoing{kind: kindSend, typ: t, bin: true, body: body}
	if to == m.node {
		return m.sendSelf(t, body)
	}
	var c *Conn
	err := ErrNoRoute
	if c, o.relay = m.route(to); c != nil {
		if err = c.enqueue(&o); err == nil {
			return nil
		}
		if err == errConnClosed {
			err = ErrNoRoute
		}
	}
	if err == ErrNoRoute {
		err = m.noRoute()
	}
	return fmt.Errorf("send %d to %s: %w", t, to, err)
}

// noRoute counts, and returns the error to give when there is no connection.
func (m *Mesh) noRoute() error {
	m.stats.noRoute.Add(1)
	if m.ctx.Err() != nil {
		return ErrClosed
	}
	return ErrNoRoute
}

func (m *Mesh) sendSelf(t Type, body []byte) error {
	if m.ctx.Err() != nil {
		return fmt.Errorf("send %d to itself: %w", t, ErrClosed)
	}
	select {
	case m.loopback <- loopedSend{t, append([]byte(nil), body...)}:
		return nil
	default:
		m.stats.queueFull.Add(1)
		return fmt.Errorf("send %d to itself: %w", t, ErrQueueFull)
	}
}

// loop handles the sends of the node to itself.
func (m *Mesh) loop() {
	defer m.wg.Done()
	for {
		select {
		case <-m.ctx.Done():
			return
		case s := <-m.loopback:
			if h := m.sends[s.t]; h != nil {
				h(m.node, s.body)
			} else {
				m.stats.sendsDropped.Add(1)
			}
		}
	}
}

// receive takes a frame from a connection. An error closes the connection.
func (m *Mesh) receive(c *Conn, f frame) error {
	switch f.kind {
	case kindSend:
		if err := m.deliverSend(c.node, f); err != nil {
			return err
		}
	case kindRequest, kindResponse, kindFailure, kindCancel, kindUndeliverable:
		m.deliver(c, c.id, f)
	case kindPing:
		// A full queue needs no pong: bytes are on their way.
		_ = c.enqueue(&outgoing{kind: kindPong, request: f.request})
	case kindPong:
		c.pong(time.Duration(f.request))
	case kindPeers:
		return m.takePeers(f.body)
	case kindRing:
		return m.takeRing(c, f.body)
	case kindRelay:
		return m.relay(c, f.body)
	case kindGoodbye:
		return errGoodbye
	case kindRefusal:
		r, err := readRefusal(f)
		if err != nil {
			return err
		}
		return r.error()
	default:
		return fmt.Errorf("%w frame: kind %d after the handshake", ErrMalformed, f.kind)
	}
	return nil
}

func (m *Mesh) deliverSend(from ring.Node, f frame) error {
	b, err := unwrapBin(f.body)
	if err != nil {
		m.stats.sendsDropped.Add(1)
		return fmt.Errorf("send %d: %w", f.typ, err)
	}
	if h := m.sends[f.typ]; h != nil {
		h(from, b)
	} else {
		m.stats.sendsDropped.Add(1)
	}
	return nil
}

// deliver takes a user's frame from a node; via is its connection, or nil if the
// frame was relayed.
func (m *Mesh) deliver(via *Conn, from ring.ID, f frame) {
	switch f.kind {
	case kindSend:
		if err := m.deliverSend(from.Node(), f); err != nil {
			m.warn(from.Short(), "relayed message dropped", "from", from.Short(), "error", err)
		}
	case kindRequest:
		m.serve(via, from, f)
	case kindResponse, kindFailure, kindUndeliverable:
		m.answer(from.Node(), f)
	case kindCancel:
		m.cancelCall(from.Node(), f.request)
	}
}

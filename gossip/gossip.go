package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	metrics "github.com/hashicorp/go-metrics/compat"
	"github.com/hashicorp/memberlist"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Gossip is a node's part in the gossip. It is safe for concurrent use.
type Gossip struct {
	log      hclog.Logger
	labels   []metrics.Label
	profile  profile
	interval time.Duration // between rounds of rejoin
	seeds    []string
	listName string
	list     *memberlist.Memberlist
	wire     *wire
	events   *events
	intents  memberlist.TransmitLimitedQueue
	limits   limiter
	living   atomic.Int64 // how many others live, for intents
	dirty    chan struct{}
	// conflicts has room for the one conflict that is ever sent.
	conflicts chan error

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	called chan struct{} // closed when the first round of calls has ended
	closed chan struct{} // closed when Close is done
	once   sync.Once
	ending sync.Mutex // held by Leave and by Close

	mu       sync.Mutex // taken under memberlist's lock, never the other way round
	self     Node
	table    *table
	rivals   map[string]*rival // by listName and address; at most maxRivals
	conflict *ConflictError
	leaving  bool
	moved    bool // the ring has changed, and the others are still to be told
}

// New listens and starts to gossip. It returns before any other node has been
// met; Config.Seeds are called in the background. The error names the address
// when it is taken, or the field that is wrong.
func New(c Config) (*Gossip, error) {
	return open(c, func(w *wire) memberlist.Transport { return w })
}

// open is New with a chance to stand between memberlist and the wire.
func open(c Config, over func(*wire) memberlist.Transport) (*Gossip, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	bind, err := resolve("gossip bind", c.BindAddr)
	if err != nil {
		return nil, err
	}
	p, err := newProfile(c.Profile, bind.ip.IsLoopback())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	g := &Gossip{
		log:       c.Logger,
		labels:    slices.Clip(slices.Clone(c.MetricLabels)), // memberlist appends to it, from several goroutines
		profile:   p,
		interval:  c.RejoinInterval,
		seeds:     slices.Clone(c.Seeds),
		dirty:     make(chan struct{}, 1),
		conflicts: make(chan error, 1),
		closed:    make(chan struct{}),
		called:    make(chan struct{}),
		rivals:    map[string]*rival{},
		table:     newTable(),
		self: Node{
			ID: c.ID, Name: c.Name, Role: c.Role, State: Alive,
			MeshAddr: c.MeshAddr, HTTPAddr: c.HTTPAddr, Version: c.Version,
			RingID: c.RingID, Epoch: c.Epoch, Expect: c.Expect,
			Boot: c.Boot, Started: uint64(now.UnixMilli()), Returning: c.Returning,
		},
	}
	if g.log == nil {
		g.log = hclog.NewNullLogger()
	}
	if g.interval == 0 {
		g.interval = p.rejoin
	}
	if g.self.Boot == 0 {
		g.self.Boot = uint64(now.UnixNano())
	}
	if _, err := encodeMeta(&g.self); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	g.listName = g.self.listName()
	g.events = newEvents(c.Events, g.labels)
	g.intents.RetransmitMult = p.list.RetransmitMult
	g.intents.NumNodes = func() int { return int(g.living.Load()) + 1 }

	advertise := bind
	if c.AdvertiseAddr != "" {
		if advertise, err = resolve("gossip advertise", c.AdvertiseAddr); err != nil {
			return nil, err
		}
	} else if bind.ip.IsUnspecified() {
		return nil, fmt.Errorf("gossip bind address %s is every interface; say in the advertise address which one others should call", c.BindAddr)
	}
	l := log.New(listLog{g.log.Named("memberlist")}, "", 0)
	if g.wire, err = listen(bind, l, g.labels); err != nil {
		return nil, err
	}
	bind.port = g.wire.GetAutoBindPort()
	if advertise.port == 0 {
		advertise.port = bind.port
	}
	g.self.GossipAddr = advertise.String()

	m := p.list
	m.Name = g.listName
	m.Transport = over(g.wire)
	m.BindAddr, m.BindPort = bind.ip.String(), bind.port
	m.AdvertiseAddr, m.AdvertisePort = advertise.ip.String(), advertise.port
	if len(c.Keys) > 0 {
		m.SecretKey = c.Keys[0]
		if m.Keyring, err = memberlist.NewKeyring(c.Keys, m.SecretKey); err != nil {
			return nil, err
		}
	}
	m.Logger = l
	m.MetricLabels = g.labels
	h := hooks{g}
	m.Delegate, m.Events, m.Alive, m.Merge, m.Conflict, m.Ping = h, h, h, h, h, h
	m.DisableTcpPingsForNode = g.wire.isSevered
	if g.list, err = memberlist.Create(m); err != nil {
		g.wire.drain()
		return nil, errors.Join(fmt.Errorf("gossip on %s: %w", bind, err), g.wire.Shutdown())
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.wg.Go(func() { g.events.run(g.ctx) })
	g.wg.Go(g.watch)
	g.wg.Go(g.rejoin)
	g.wg.Go(g.spread)
	return g, nil
}

// Self returns this node as it is told to others.
func (g *Gossip) Self() Node {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.self
}

// Members returns this node and all others, the recently dead and left
// included, sorted by name. For one ID there is one entry, its latest life.
func (g *Gossip) Members() []Node {
	g.mu.Lock()
	defer g.mu.Unlock()
	nodes := append(g.table.list(), g.self)
	sortNodes(nodes)
	return nodes
}

// Conflict yields at most one error, a *ConflictError: another living node has
// this node's name or identity and was there first. The process should then
// stop, with that error as its reason.
func (g *Gossip) Conflict() <-chan error { return g.conflicts }

// SetRing says which ring this node is in and in which epoch its configuration
// is, and closes the door to nodes of any other ring. In the background the
// others are told, and those of another ring that were let in before are
// dropped, with an event that says Left. An empty id
// changes nothing: a node does not forget its ring.
func (g *Gossip) SetRing(id ring.RingID, epoch uint64) error {
	if id == "" {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.self
	n.RingID, n.Epoch = id, epoch
	if err := checkMeta(&n); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	switch {
	case g.self.RingID == id && g.self.Epoch == epoch:
		return nil
	case g.self.RingID != "" && g.self.RingID != id:
		g.log.Warn("changes to another ring", "from", g.self.RingID, "to", id)
	}
	g.enter(id, epoch)
	return nil
}

// Called is closed when each seed, up to a limit, has been called once. Those with
// this node's ID or name that the ones who answered know of are rivals then.
func (g *Gossip) Called() <-chan struct{} { return g.called }

// LetIn ends Node.Returning: from now on other lives of this ID give way.
func (g *Gossip) LetIn() error {
	return g.change(func(n *Node) { n.Returning = false })
}

// SetMeshAddr tells the others where this node's mesh listens, host:port.
func (g *Gossip) SetMeshAddr(addr string) error {
	return g.change(func(n *Node) { n.MeshAddr = addr })
}

// SetHTTPAddr tells the others where this node's HTTP API listens, host:port.
func (g *Gossip) SetHTTPAddr(addr string) error {
	return g.change(func(n *Node) { n.HTTPAddr = addr })
}

func (g *Gossip) change(f func(*Node)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.self
	f(&n)
	if err := checkMeta(&n); err != nil {
		return fmt.Errorf("gossip: %w", err)
	}
	g.self = n
	g.announce()
	return nil
}

// announce has spread tell the others of a change, soon.
func (g *Gossip) announce() {
	select {
	case g.dirty <- struct{}{}:
	default:
	}
}

// spread puts this node's changed meta into memberlist's queue.
func (g *Gossip) spread() {
	for {
		select {
		case <-g.dirty:
		case <-g.ctx.Done():
			return
		}
		// It is queued before UpdateNode begins to wait; that it has not gone
		// out in this short time is no failure.
		_ = g.list.UpdateNode(time.Millisecond)
		g.move()
	}
}

// Join calls these host:port once, now, besides what goes on in the background,
// and returns how many answered and let this node in. The error is nil if any
// did. It is a *ConflictError if the name is taken, and wraps ErrRefused if the
// other side is of another ring.
func (g *Gossip) Join(seeds []string) (int, error) {
	c := Config{Seeds: seeds}
	if err := c.check(); err != nil {
		return 0, fmt.Errorf("gossip: %w", err)
	}
	if g.ctx.Err() != nil {
		return 0, errWireClosed
	}
	n, err := g.list.Join(seeds)
	if conflict := g.FaceRivals(); conflict != nil {
		return n, conflict
	}
	if err != nil {
		return n, fmt.Errorf("gossip: %w", explain(err))
	}
	return n, nil
}

// refused is an error of memberlist with ErrRefused lost in its text.
type refused struct{ error }

func (refused) Is(target error) bool { return target == ErrRefused }

// explain adds what to do to errors of memberlist that do not say it, and makes
// ErrRefused findable again, as memberlist formats its causes away.
func explain(err error) error {
	s := err.Error()
	if strings.Contains(s, ErrRefused.Error()) {
		return refused{err}
	}
	for _, text := range []string{
		"no installed keys could decrypt the message",
		"encryption is configured but remote state is not encrypted",
		"remote state is encrypted and encryption is not configured",
	} {
		if strings.Contains(s, text) {
			return fmt.Errorf("the gossip keys differ; give all nodes the same one: %w", err)
		}
	}
	return err
}

// Leave tells the others that this node goes for good, so that they do not miss
// it. It waits until the news is out, or for the timeout. Close comes next.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.ending.Lock() // memberlist panics when Leave comes after Shutdown
	defer g.ending.Unlock()
	if g.ctx.Err() != nil {
		return errWireClosed
	}
	g.mu.Lock()
	again := g.leaving
	g.leaving = true
	me := intent{g.self.ID, g.self.Boot}
	others := g.table.list()
	g.mu.Unlock()
	if again {
		return nil
	}
	g.intents.QueueBroadcast(newIntentCast(me))
	g.sendAll(others, encodeIntents(me)) // only makes it sooner
	err := g.list.Leave(timeout)
	g.mu.Lock()
	g.self.State = Left
	g.mu.Unlock()
	if err != nil {
		return fmt.Errorf("gossip: leaving: %w", err)
	}
	return nil
}

// Close stops at once, which looks to the others as a crash does unless Leave
// was called before. It waits for this package's goroutines and for all
// connections; memberlist's own loops have been told to end by then, the last
// of them, a probe under way, does within a few probe intervals.
func (g *Gossip) Close() error {
	var err error
	g.once.Do(func() {
		g.ending.Lock()
		defer g.ending.Unlock()
		g.cancel()
		// Before the wait: a call under way ends when its connection does.
		err = g.list.Shutdown()
		g.wg.Wait()
		g.wire.wait()
		close(g.closed)
	})
	<-g.closed
	return err
}

package chord

import (
	"errors"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/gossip"
)

// follower enters the configurations of nodes that are ahead, as their messages or
// gossip tell. It has a goroutine of its own: whatever waits for a quorum waits in
// vain while this node works by an older configuration than the others.
type follower struct {
	node *Node
	kick chan struct{}

	mu    sync.Mutex
	ahead map[ring.Node]bool

	// gaps are the nodes that do not have the configuration after epoch.
	epoch uint64
	gaps  map[ring.Node]bool
}

func newFollower(n *Node) *follower {
	return &follower{node: n, kick: make(chan struct{}, 1), ahead: map[ring.Node]bool{}}
}

// behind notes that others work by a newer configuration.
func (f *follower) behind(nodes []ring.Node) {
	f.mu.Lock()
	for _, node := range nodes {
		f.ahead[node] = true
	}
	f.mu.Unlock()
	f.wake()
}

func (f *follower) wake() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// run follows until the node stops.
func (f *follower) run() {
	tick := time.NewTicker(reshapeInterval)
	defer tick.Stop()
	for {
		if f.node.ring.Load() != nil {
			f.node.reshaper.lags(f.follow())
		}
		select {
		case <-f.kick:
		case <-tick.C:
		case <-f.node.ctx.Done():
			return
		}
	}
}

// lags notes why this node could not follow the others, or nil.
func (r *reshaper) lags(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lag = ""
	if err != nil {
		r.lag = "following the others: " + err.Error()
	}
}

// follow catches up with the first node that is ahead and has what is needed.
func (f *follower) follow() error {
	n := f.node
	have := n.ring.Load().placement.Configuration()
	f.mu.Lock()
	ahead := f.ahead
	f.ahead = map[ring.Node]bool{}
	f.mu.Unlock()
	for _, g := range n.gossip.Members() {
		if g.ID != n.id && g.RingID == have.RingID && g.Epoch > have.Epoch && g.State == gossip.Alive && g.Role == gossip.RoleMember {
			ahead[g.ID.Node()] = true
		}
	}
	var errs []error
	for node := range ahead {
		err := n.catchUp(node)
		if err == nil {
			return nil
		}
		if errors.Is(err, errGap) {
			f.gapAt(have.Epoch, node)
		}
		errs = append(errs, err)
	}
	f.judge(have.Epoch)
	return errors.Join(errs...)
}

// gapAt notes that a node does not have the configuration after epoch. Those who
// joined later never had it.
func (f *follower) gapAt(epoch uint64, node ring.Node) {
	if f.epoch != epoch || f.gaps == nil {
		f.epoch, f.gaps = epoch, map[ring.Node]bool{}
	}
	f.gaps[node] = true
}

// judge starts this node anew when the configuration after epoch is gone.
func (f *follower) judge(epoch uint64) {
	n := f.node
	if f.epoch != epoch {
		return
	}
	var newest *ring.Configuration
	for node := range f.gaps {
		if conf, err := n.fetchConfiguration(node); err == nil && (newest == nil || conf.Epoch > newest.Epoch) {
			newest = conf
		}
	}
	if newest == nil {
		return
	}
	alive := map[ring.ID]bool{}
	for _, g := range n.gossip.Members() {
		alive[g.ID] = g.State == gossip.Alive
	}
	if chainGone(newest, n.id, func(id ring.ID) bool { return f.gaps[id.Node()] }, func(id ring.ID) bool { return alive[id] }) {
		n.renew("the configurations since it was last here are no longer to be had")
	}
}

// chainGone reports whether nobody else can have the configurations that a node needs
// to follow: all but f of the ring's others lack them, and all of those that are alive.
func chainGone(newest *ring.Configuration, self ring.ID, lacks, alive func(ring.ID) bool) bool {
	others, lacking := 0, 0
	for _, m := range newest.New.Members {
		switch {
		case m.ID == self:
		case lacks(m.ID):
			others++
			lacking++
		case alive(m.ID):
			return false
		default:
			others++
		}
	}
	return lacking >= min(len(newest.New.Members)-newest.New.Faults(), others)
}

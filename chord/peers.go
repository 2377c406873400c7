package chord

import (
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/gossip"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// peers joins what gossip and the mesh know of other nodes into one answer for
// the shards: whether to ask a node before others. It never decides more.
type peers struct {
	node *Node
	kick chan struct{}

	applying sync.Mutex // keeps the order of what the shards are told

	mu  sync.Mutex
	all map[ring.Node]*peerState
}

type peerState struct {
	id        ring.ID
	gossip    gossip.State // 0: gossip has not seen it
	connected bool
	// lost is when a direct connection broke that has not come back.
	lost time.Time
	told bool // what the shards were told: unreachable
	// last is the latest life that gossip told of; twice: there were two with its
	// number.
	last  life
	twice bool
	// reserved is the highest that it told of its Node.reserved.
	reserved uint64
	// answered: it said what it knows of this node's lives.
	answered bool
}

// lostGrace is how long a broken connection speaks against a node that gossip
// still believes alive; it may be reached through others.
const lostGrace = 3 * time.Second

func newPeers(n *Node) *peers {
	return &peers{node: n, all: map[ring.Node]*peerState{}, kick: make(chan struct{}, 1)}
}

func (p *peers) state(id ring.ID) *peerState {
	s := p.all[id.Node()]
	if s == nil {
		s = &peerState{id: id}
		p.all[id.Node()] = s
	}
	return s
}

// direct is told by the mesh that a connection came or went.
func (p *peers) direct(peer mesh.Peer, up bool) {
	p.mu.Lock()
	s := p.state(peer.ID)
	s.connected = up
	if up {
		s.lost = time.Time{}
	} else {
		s.lost = time.Now()
	}
	p.mu.Unlock()
	p.wake()
}

// gossiped is told by gossip that a node changed.
func (p *peers) gossiped(g gossip.Node) {
	p.mu.Lock()
	s := p.state(g.ID)
	before := s.gossip
	s.gossip = g.State
	if !g.Returning { // else it may be a copy that nobody lets in
		s.lived(&g)
	}
	p.mu.Unlock()
	if st := p.node.ring.Load(); st != nil && g.Epoch > st.placement.Configuration().Epoch {
		p.node.follower.wake()
	}
	switch g.State {
	case gossip.Alive:
		if g.MeshAddr != "" && g.Role == gossip.RoleMember {
			p.node.mesh.HandlePeers([]mesh.Peer{{ID: g.ID, Name: g.Name, Addr: g.MeshAddr, Role: mesh.RoleMember, RingID: g.RingID, Epoch: g.Epoch}})
		}
	case gossip.Dead, gossip.Left:
		if before != g.State {
			p.node.mesh.Forget(g.ID)
		}
	}
	p.wake()
}

func (p *peers) member(id ring.ID) (ring.Member, bool) {
	if st := p.node.ring.Load(); st != nil {
		return st.placement.Configuration().Member(id)
	}
	return ring.Member{}, false
}

func (p *peers) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// run tells the shards of every change until the node stops.
func (p *peers) run() {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		if st := p.node.ring.Load(); st != nil {
			p.apply(st)
		}
		select {
		case <-p.kick:
		case <-tick.C:
		case <-p.node.ctx.Done():
			return
		}
	}
}

// apply tells the shards what changed about members since the last time. Other
// nodes come and go: those that are gone are forgotten.
func (p *peers) apply(st *ringState) {
	type change struct {
		node ring.Node
		up   bool
	}
	p.applying.Lock()
	defer p.applying.Unlock()
	var changes []change
	p.mu.Lock()
	for node, s := range p.all {
		if _, member := p.member(s.id); !member {
			if s.gone() {
				delete(p.all, node)
			}
			continue
		}
		if down := s.unreachable(); down != s.told {
			s.told = down
			changes = append(changes, change{node, !down})
		}
	}
	p.mu.Unlock()
	for _, c := range changes {
		for _, d := range st.drivers {
			d.input(func(now register.Now) { d.shard.Reachable(now, c.node, c.up) })
		}
	}
}

func (s *peerState) unreachable() bool {
	switch s.gossip {
	case gossip.Suspect, gossip.Dead, gossip.Left:
		return true
	}
	return !s.connected && !s.lost.IsZero() && time.Since(s.lost) < lostGrace
}

// gone reports that neither gossip nor the mesh has the node any more.
func (s *peerState) gone() bool {
	switch s.gossip {
	case gossip.Alive, gossip.Suspect:
		return false
	}
	return !s.connected && time.Since(s.lost) >= lostGrace
}

// alive reports whether a node is there as far as gossip and the mesh know. One
// that neither has met is not.
func (p *peers) alive(node ring.Node) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.all[node]
	return s != nil && (s.connected || s.gossip == gossip.Alive) && !s.unreachable()
}

// usable reports whether a member is thought to answer.
func (p *peers) usable(node ring.Node) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.all[node]
	return s == nil || !s.unreachable()
}

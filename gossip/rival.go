package gossip

import (
	"fmt"
	"time"

	metrics "github.com/hashicorp/go-metrics/compat"
	"github.com/hashicorp/memberlist"
)

// ConflictError says that another living node has this node's name or identity
// and was there first. This node should stop: nobody will let it in.
type ConflictError struct {
	// Node is the other one.
	Node Node
	// SameID: it has our identity, so both run on one data directory or a copy.
	// Then both are told, whoever came first, unless they even have one Boot.
	SameID bool
}

func (e *ConflictError) Error() string {
	if e.SameID {
		return fmt.Sprintf("another process runs with the identity %s of this node: %q at %s; give each node a data directory of its own and never copy one", e.Node.ID.Short(), e.Node.Name, e.Node.GossipAddr)
	}
	return fmt.Sprintf("the name %q is taken by node %s at %s; give this node another name", e.Node.Name, e.Node.ID.Short(), e.Node.GossipAddr)
}

// rival is a node that seems to have our name or identity, and to have been
// there first. It may be long gone, as others learn of a death only after a
// while; so it is pinged before it is believed.
type rival struct {
	node   Node
	sameID bool
	first  time.Time // when it was first heard of
	last   time.Time // and last
}

// before reports whether a holds a name against b. All nodes must decide alike,
// whoever they met first: a node with a configuration comes before one without,
// then the earlier start, then the lower ID.
func before(a, b *Node) bool {
	if (a.Epoch > 0) != (b.Epoch > 0) {
		return a.Epoch > 0
	}
	if a.Started != b.Started {
		return a.Started < b.Started
	}
	return a.ID.Compare(b.ID) < 0
}

// rivalAtDoor returns an error if n has a name or identity that another living
// node holds. It needs g.mu.
func (g *Gossip) rivalAtDoor(n *Node) error {
	self := &g.self
	switch {
	case n.ID == self.ID && n.Boot < self.Boot:
		if n.GossipAddr != self.GossipAddr {
			g.meetRival(n, true) // if it still answers, it is more than a memory
		}
		return fmt.Errorf("%w: %s was this node's last life", ErrRefused, n.listName())
	case n.ID == self.ID:
		g.meetRival(n, true)
		return &ConflictError{Node: *n, SameID: true}
	case n.Name == self.Name:
		if n.GossipAddr == self.GossipAddr {
			return fmt.Errorf("%w: %s had this node's address before it", ErrRefused, n.ID.Short())
		}
		if before(n, self) {
			g.meetRival(n, false)
			return &ConflictError{Node: *n}
		}
		return g.nameTaken(n, self)
	}
	if holder, ok := g.table.namesake(n); ok && before(&holder, n) {
		return g.nameTaken(n, &holder)
	}
	return nil
}

// nameTaken logs, once a minute for each name, and returns that n was refused
// for its name.
func (g *Gossip) nameTaken(n, holder *Node) error {
	metrics.IncrCounterWithLabels([]string{"gossip", "refused", "name"}, 1, g.labels)
	if g.limits.allow("name "+n.Name, time.Now()) {
		g.log.Warn("refused a node: its name is taken", "name", n.Name, "id", n.ID.Short(), "addr", n.GossipAddr,
			"holder", holder.ID.Short(), "holder_addr", holder.GossipAddr)
	}
	return fmt.Errorf("%w: the name %q of %s at %s is taken by %s at %s", ErrRefused, n.Name, n.ID.Short(), n.GossipAddr, holder.ID.Short(), holder.GossipAddr)
}

// meetRival notes a rival, to be looked at. It needs g.mu.
func (g *Gossip) meetRival(n *Node, sameID bool) {
	now := time.Now()
	if r := g.rival; r != nil && r.node.ID == n.ID && r.node.Boot == n.Boot && r.node.GossipAddr == n.GossipAddr {
		r.last = now
		return
	}
	g.rival = &rival{node: *n, sameID: sameID, first: now, last: now}
}

// NotifyConflict implements memberlist.ConflictDelegate: two nodes have one
// name in memberlist, which is an ID and a boot, at two addresses.
func (h hooks) NotifyConflict(_, other *memberlist.Node) {
	if other.Name != h.g.listName {
		return // theirs to find out
	}
	n, err := readPeer(other)
	if err != nil {
		return // a forgery: it cannot be ours with an unreadable meta
	}
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	h.g.meetRival(&n, true)
}

// faceRival looks whether a rival that was met is alive, and if so reports it,
// once, on Conflict, and returns it each time.
func (g *Gossip) faceRival() error {
	g.mu.Lock()
	found := g.conflict
	var r rival
	met := g.rival != nil
	if met {
		r = *g.rival
	}
	g.mu.Unlock()
	if found != nil {
		return found
	}
	if !met {
		return nil
	}
	alive := g.pingTwice(&r.node)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.conflict != nil:
		return g.conflict
	case alive, r.last.Sub(r.first) > g.profile.grace:
		g.conflict = &ConflictError{Node: r.node, SameID: r.sameID}
		g.conflict.Node.State = Alive
		g.conflicts <- g.conflict // has room: it is sent once
		return g.conflict
	case time.Since(r.last) > g.profile.grace:
		g.rival = nil // nobody names it any more
	}
	return nil
}

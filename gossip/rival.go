package gossip

import (
	"fmt"
	"sync"
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
	// Then the other goes on: see Node.Returning and Node.Boot.
	SameID bool
}

func (e *ConflictError) Error() string {
	if e.SameID {
		return fmt.Sprintf("another process runs with the identity %s of this node: %q at %s, which goes on; this one's data directory, or that one's, is a copy. Give each node a data directory of its own and never copy one", e.Node.ID.Short(), e.Node.Name, e.Node.GossipAddr)
	}
	return fmt.Sprintf("the name %q is taken by node %s at %s; give this node another name", e.Node.Name, e.Node.ID.Short(), e.Node.GossipAddr)
}

// maxRivals bounds the rivals that are looked at; further ones have to be met again.
const maxRivals = 8

// rival is a node that seems to have our name or identity, and to have been
// there first. It may be long gone, as others learn of a death only after a
// while; so it is pinged before it is believed.
type rival struct {
	node   Node
	sameID bool
	first  time.Time // when it was first heard of
	last   time.Time // and last
	silent int       // how often it did not answer
}

func (r *rival) key() string { return r.node.listName() + " " + r.node.GossipAddr }

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
	case n.ID == self.ID && n.Boot < self.Boot && n.GossipAddr == self.GossipAddr:
		return fmt.Errorf("%w: %s was this node's last life", ErrRefused, n.listName())
	case n.ID == self.ID && !self.yieldsTo(n):
		g.secondLife(n)
		return fmt.Errorf("%w: %s at %s is another life of this node, and gives way", ErrRefused, n.listName(), n.GossipAddr)
	case n.ID == self.ID:
		g.meetRival(n, true) // if it still answers, it is more than a memory
		if n.Boot < self.Boot {
			return fmt.Errorf("%w: %s was this node's last life", ErrRefused, n.listName())
		}
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

// secondLife logs, once a minute, that there is a process with our identity that
// has to end. It needs g.mu.
func (g *Gossip) secondLife(n *Node) {
	if n.Returning && g.limits.allow("second life", time.Now()) {
		g.log.Warn("another process was started with a copy of this node's data directory; this node goes on", "addr", n.GossipAddr, "boot", n.Boot)
	}
}

// meetRival notes a rival, to be looked at. It needs g.mu.
func (g *Gossip) meetRival(n *Node, sameID bool) {
	now := time.Now()
	r := &rival{node: *n, sameID: sameID, first: now, last: now}
	if old := g.rivals[r.key()]; old != nil {
		r.first, r.silent = old.first, old.silent
	} else if len(g.rivals) >= maxRivals {
		return
	}
	g.rivals[r.key()] = r
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
	if !h.g.self.yieldsTo(&n) {
		h.g.secondLife(&n)
		return
	}
	h.g.meetRival(&n, true)
}

// FaceRivals looks whether a rival that was met is alive, and if so reports it,
// once, on Conflict, and returns it each time. It asks each rival settled times,
// twice each, and no more; in the background they are asked as long as others name
// them.
func (g *Gossip) FaceRivals() error {
	for range settled {
		if err := g.faceRivals(settled); err != nil {
			return err
		}
	}
	return nil
}

// settled is how often a rival is asked before it is taken for gone.
const settled = 2

// faceRivals asks the rivals that were silent less often than that.
func (g *Gossip) faceRivals(below int) error {
	var wg sync.WaitGroup
	g.mu.Lock()
	for key, r := range g.rivals {
		switch {
		case r.sameID && !g.self.yieldsTo(&r.node):
			delete(g.rivals, key) // this node was let in since
		case r.silent < below:
			wg.Go(func() { g.faceRival(key, r.node) })
		}
	}
	g.mu.Unlock()
	wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conflict != nil {
		return g.conflict
	}
	return nil
}

// faceRival asks the rival at key.
func (g *Gossip) faceRival(key string, n Node) {
	alive := g.pingTwice(&n)
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rivals[key]
	switch {
	case g.conflict != nil || r == nil || r.sameID && !g.self.yieldsTo(&r.node):
	case alive, r.last.Sub(r.first) > g.profile.grace:
		g.conflict = &ConflictError{Node: r.node, SameID: r.sameID}
		g.conflict.Node.State = Alive
		g.conflicts <- g.conflict // has room: it is sent once
	case time.Since(r.last) > g.profile.grace:
		delete(g.rivals, key) // nobody names it any more
	default:
		r.silent++
	}
}

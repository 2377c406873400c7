package gossip

import (
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// The limits of a table.
const (
	// MaxNodes bounds the nodes that are not gone; more are refused at the door.
	MaxNodes = 4096
	// MaxGone bounds the dead and left nodes that are remembered.
	MaxGone = 256
	// keepGone is how long they are remembered.
	keepGone = 24 * time.Hour
)

// entry is another node.
type entry struct {
	Node
	// leaving: it said that it leaves, so its death is no failure.
	leaving bool
	// changed is when State changed, pinged when it was last pinged.
	changed, pinged time.Time
}

// table knows the other nodes by ID, each in its latest life. Its methods
// return whether something changed that others should hear of.
type table struct {
	nodes map[ring.ID]*entry
	gone  int
}

func newTable() *table { return &table{nodes: map[ring.ID]*entry{}} }

// living returns the number of nodes that are not gone.
func (t *table) living() int { return len(t.nodes) - t.gone }

// set notes a node that joined or told something new of itself.
func (t *table) set(n Node, now time.Time) bool {
	e, ok := t.nodes[n.ID]
	switch {
	case !ok:
		e = &entry{}
		t.nodes[n.ID] = e
	case !e.State.gone() && !e.sameLife(&n) && n.yieldsTo(&e.Node), e.State.gone() && e.Boot > n.Boot && !e.Returning:
		return false // news of an earlier life, or the other one may still answer
	case e.State.gone():
		t.gone--
	}
	n.State = Alive
	if e.sameLife(&n) && e.State == Suspect {
		n.State = Suspect // what it says of itself is no answer to a ping
	}
	if e.State != n.State || !e.sameLife(&n) {
		e.changed = now
	}
	if !e.sameLife(&n) {
		e.leaving = false
	}
	e.Node = n
	return true
}

// end notes that memberlist holds a life of a node for dead.
func (t *table) end(n *Node, now time.Time) bool {
	e, ok := t.nodes[n.ID]
	if !ok || !e.sameLife(n) || e.State.gone() {
		return false
	}
	e.State, e.changed = Dead, now
	if e.leaving {
		e.State = Left
	}
	t.gone++
	return true
}

// leave notes that a life of a node said that it leaves. News is whether it had
// not been said before.
func (t *table) leave(id ring.ID, boot uint64) (news, changed bool) {
	e, ok := t.nodes[id]
	if !ok || e.Boot != boot || e.leaving {
		return false, false
	}
	e.leaving = true
	if e.State == Dead {
		e.State = Left
		return true, true
	}
	return true, false
}

// answered notes whether a life of a node answered a ping.
func (t *table) answered(n *Node, yes bool, now time.Time) bool {
	e, ok := t.nodes[n.ID]
	if !ok || !e.sameLife(n) || e.State.gone() {
		return false
	}
	s := Suspect
	if yes {
		s = Alive
	}
	if e.State == s {
		return false
	}
	e.State, e.changed = s, now
	return true
}

// depart forgets a node that has gone to another ring, and returns its last state.
func (t *table) depart(id ring.ID) (Node, bool) {
	e, ok := t.nodes[id]
	if !ok {
		return Node{}, false
	}
	if e.State.gone() {
		t.gone--
	}
	delete(t.nodes, id)
	e.State = Left
	return e.Node, true
}

// trim forgets what has been gone for too long, and what is too much: clients
// first, which never come back under the same ID, then the longest gone.
func (t *table) trim(now time.Time) {
	if t.gone == 0 {
		return
	}
	var gone []*entry
	for id, e := range t.nodes {
		if !e.State.gone() {
			continue
		}
		if now.Sub(e.changed) > keepGone {
			delete(t.nodes, id)
			t.gone--
			continue
		}
		gone = append(gone, e)
	}
	if len(gone) <= MaxGone {
		return
	}
	slices.SortFunc(gone, func(a, b *entry) int {
		if a.Role != b.Role {
			if a.Role == RoleClient {
				return -1
			}
			return 1
		}
		return a.changed.Compare(b.changed)
	})
	for _, e := range gone[:len(gone)-MaxGone] {
		delete(t.nodes, e.ID)
		t.gone--
	}
}

// namesake returns another node that is alive under that name at another
// address. A node at the same address must have gone: the port is not free twice.
func (t *table) namesake(n *Node) (Node, bool) {
	for _, e := range t.nodes {
		if e.Name == n.Name && e.ID != n.ID && e.State == Alive && e.GossipAddr != n.GossipAddr {
			return e.Node, true
		}
	}
	return Node{}, false
}

// due returns up to most living nodes, those not pinged for longest first, and
// notes them as pinged.
func (t *table) due(most int, now time.Time) []Node {
	var all []*entry
	for _, e := range t.nodes {
		if !e.State.gone() {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *entry) int { return a.pinged.Compare(b.pinged) })
	all = all[:min(most, len(all))]
	nodes := make([]Node, len(all))
	for i, e := range all {
		e.pinged = now
		nodes[i] = e.Node
	}
	return nodes
}

// list returns all nodes, by name and then by ID.
func (t *table) list() []Node {
	nodes := make([]Node, 0, len(t.nodes)+1)
	for _, e := range t.nodes {
		nodes = append(nodes, e.Node)
	}
	sortNodes(nodes)
	return nodes
}

func sortNodes(nodes []Node) {
	slices.SortFunc(nodes, func(a, b Node) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return a.ID.Compare(b.ID)
	})
}

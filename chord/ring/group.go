package ring

import "math/bits"

// MaxGroup is the largest owner set: the owners by Old and by New.
const MaxGroup = 2 * MaxReplicas

// Group is the owner set of one key in one configuration. Owners are numbered
// from 0; the first is the primary. Answers are counted in bit sets of those
// numbers. A quorum is a majority of the owner set, never of hash positions: a
// member that stands at two points of a key counts once.
type Group struct {
	owners   [MaxGroup]Node
	n        int
	old, new uint16 // old is 0 in a final configuration
	// suspended: nothing is decided in this configuration (see Configuration.Forced).
	suspended bool
}

// NewGroup makes the group of a final configuration, for tests and simulations.
func NewGroup(owners ...Node) Group {
	var g Group
	for _, o := range owners {
		g.new |= 1 << g.add(o)
	}
	return g
}

// NewJointGroup makes the group of a joint configuration, for tests and simulations.
func NewJointGroup(old, new []Node) Group {
	g := NewGroup(new...)
	for _, o := range old {
		g.old |= 1 << g.add(o)
	}
	return g
}

func (g *Group) add(node Node) int {
	if i := g.Index(node); i >= 0 {
		return i
	}
	g.owners[g.n] = node
	g.n++
	return g.n - 1
}

// Len returns the number of distinct owners.
func (g *Group) Len() int { return g.n }

// Owner returns owner i.
func (g *Group) Owner(i int) Node { return g.owners[i] }

// Owners returns all owners, primary first.
func (g *Group) Owners() []Node { return g.owners[:g.n] }

// Index returns the number of an owner, or -1.
func (g *Group) Index(node Node) int {
	for i, o := range g.owners[:g.n] {
		if o == node {
			return i
		}
	}
	return -1
}

// Vote is the result of counting answers. The zero value is invalid, so that a
// count that was never made is not taken for one (etcd-io/raft, quorum).
type Vote uint8

// The results of a count.
const (
	// VotePending: neither a quorum of yes nor so many no that none can come.
	VotePending Vote = 1 + iota
	// VoteLost: no quorum of yes can come any more.
	VoteLost
	// VoteWon: a quorum said yes.
	VoteWon
)

func (v Vote) String() string {
	switch v {
	case VotePending:
		return "pending"
	case VoteLost:
		return "lost"
	case VoteWon:
		return "won"
	}
	return "invalid"
}

// Tally counts bit sets of owners that said yes and no. In a joint configuration
// it is won when both sides are, and lost when either is.
func (g *Group) Tally(yes, no uint16) Vote {
	if g.suspended {
		return VotePending
	}
	v := tally(g.new, yes, no)
	if g.old == 0 {
		return v
	}
	w := tally(g.old, yes, no)
	switch {
	case v == VoteLost || w == VoteLost:
		return VoteLost
	case v == VoteWon && w == VoteWon:
		return VoteWon
	}
	return VotePending
}

// Quorum reports whether the owners in set are a quorum.
func (g *Group) Quorum(set uint16) bool { return g.Tally(set, 0) == VoteWon }

// Old returns the owners by Old alone; of a final configuration all.
func (g *Group) Old() Group {
	if g.old == 0 {
		return *g
	}
	o := Group{suspended: g.suspended}
	for i, node := range g.Owners() {
		if g.old>>i&1 == 1 {
			o.new |= 1 << o.add(node)
		}
	}
	return o
}

// Held reports whether the owners in set are a majority of those that every write
// so far has had one of: by Old in a joint configuration, else by New.
func (g *Group) Held(set uint16) bool {
	side := g.old
	if side == 0 {
		side = g.new
	}
	return tally(side, set, 0) == VoteWon
}

// All returns the bit set of all owners.
func (g *Group) All() uint16 { return g.old | g.new }

func tally(side, yes, no uint16) Vote {
	n := bits.OnesCount16(side)
	switch {
	case bits.OnesCount16(side&yes) >= Majority(n):
		return VoteWon
	case n-bits.OnesCount16(side&no) < Majority(n):
		return VoteLost
	}
	return VotePending
}

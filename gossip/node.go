package gossip

import (
	"fmt"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// State is what gossip believes of a node. The zero value is no state.
type State uint8

// The states of a node.
const (
	// Alive: it answers.
	Alive State = 1 + iota
	// Suspect: it did not answer this node's last two pings. It may only be slow.
	Suspect
	// Dead: memberlist's suspicion timed out without the node refuting it.
	Dead
	// Left: it said that it leaves, or it went to another ring.
	Left
)

func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Suspect:
		return "suspect"
	case Dead:
		return "dead"
	case Left:
		return "left"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// gone reports whether the node takes no part any more.
func (s State) gone() bool { return s == Dead || s == Left }

// The roles of a node.
const (
	RoleMember = "member"
	RoleClient = "client"
)

// Node is what is known of a node.
type Node struct {
	ID ring.ID
	// Name is the name that a person gave it; unique among the living.
	Name string
	// Role is RoleMember or RoleClient.
	Role  string
	State State
	// GossipAddr, MeshAddr and HTTPAddr are host:port; the last two may be empty.
	GossipAddr, MeshAddr, HTTPAddr string
	// Version is the build that it runs.
	Version string
	// RingID is the ring that it is in or has heard of; empty for none.
	RingID ring.RingID
	// Epoch is the epoch of its configuration; 0 while it has none.
	Epoch uint64
	// Expect is how many members it waits for at bootstrap; 0 if it does not.
	Expect int
	// Boot grows with each start of the same ID.
	Boot uint64
	// Started is when it started by its own clock, in milliseconds since 1970.
	// It only serves to settle which of two nodes with one name came first.
	Started uint64
	// Returning: it is not sure yet that no other life of its ID goes on, and takes
	// no living one's place.
	Returning bool
}

// sameLife reports whether two nodes with one ID are one process.
func (n *Node) sameLife(o *Node) bool { return n.Boot == o.Boot && n.Started == o.Started }

// yieldsTo reports whether, of two lives of one ID that both answer, n has to end:
// one that returns, for one that is established; of two that return the one that
// started later; else the earlier life, as the others have let the later one in
// when this one did not answer.
func (n *Node) yieldsTo(o *Node) bool {
	switch {
	case n.Returning != o.Returning:
		return n.Returning
	case n.Returning && n.Started != o.Started:
		return n.Started > o.Started
	case n.Boot != o.Boot:
		return n.Boot < o.Boot
	case n.Started != o.Started:
		return n.Started < o.Started
	}
	return n.GossipAddr > o.GossipAddr
}

// listName is the node's name in memberlist. Each start of a node is a node of
// its own there, so that a restarted one is back at once at whatever address,
// and old news of its last life, or of a copy, cannot hurt it.
func (n *Node) listName() string { return fmt.Sprintf("%s.%x.%x", n.ID.Node(), n.Boot, n.Started) }

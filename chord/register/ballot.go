package register

import (
	"cmp"
	"fmt"
	"math"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Ballot orders the attempts to change a key. Time is a hybrid logical timestamp
// of at most 53 bits (see Clock) and Node the proposer. A node issues a ballot
// of a key at most once, also across restarts. The zero ballot is below all
// others and stands for "nothing accepted".
type Ballot struct {
	Time uint64
	Node ring.Node
}

// Compare orders ballots by time, then by proposer.
func (b Ballot) Compare(o Ballot) int {
	if c := cmp.Compare(b.Time, o.Time); c != 0 {
		return c
	}
	return cmp.Compare(b.Node, o.Node)
}

// Less reports whether b is below o.
func (b Ballot) Less(o Ballot) bool { return b.Compare(o) < 0 }

// IsZero reports whether b is the zero ballot.
func (b Ballot) IsZero() bool { return b == Ballot{} }

// String prints time and proposer; "none" for the zero ballot.
func (b Ballot) String() string {
	if b.IsZero() {
		return "none"
	}
	return fmt.Sprintf("%d.%04x", b.Time, uint64(b.Node)>>48)
}

// ceiling is the highest ballot of a timestamp.
func ceiling(time uint64) Ballot { return Ballot{Time: time, Node: math.MaxUint64} }

func maxBallot(a, b Ballot) Ballot {
	if a.Less(b) {
		return b
	}
	return a
}

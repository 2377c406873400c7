package ring

import "slices"

// Fingers is what one node keeps of the circle of nodes (not of tokens): its
// successors and its finger table (Chord 2001, section 4.3 and table 1). Finger
// k, 1 <= k <= 384, is the first node at or after self + 2^(k-1).
type Fingers struct {
	self       ID
	successors []ID
	fingers    []ID
}

// NewFingers makes the fingers of self on the circle of nodes, which are sorted
// and distinct, with or without self. The successor list gets that many nodes,
// or all others if they are fewer. It takes O(log n) searches, not 384: fingers
// that end at the same node are found as one.
func NewFingers(self ID, nodes []ID, successors int) Fingers {
	f := Fingers{self: self}
	next, found := slices.BinarySearchFunc(nodes, self, ID.Compare)
	others := len(nodes)
	if found {
		next++
		others--
	}
	for i := range min(successors, others) {
		f.successors = append(f.successors, nodes[(next+i)%len(nodes)])
	}
	if others == 0 {
		return f
	}
	for k := 0; k < Bits; {
		j, _ := slices.BinarySearchFunc(nodes, self.AddPowerOfTwo(k), ID.Compare)
		node := nodes[j%len(nodes)]
		length := self.Distance(node).bitLen()
		if length <= k {
			break // there is nobody between self + 2^k and self, so nor for a larger k
		}
		f.fingers = append(f.fingers, node)
		k = length // the first whose start lies beyond node
	}
	return f
}

// Successors returns the successor list, nearest first.
func (f *Fingers) Successors() []ID { return slices.Clone(f.successors) }

// Fingers returns the distinct fingers, nearest first.
func (f *Fingers) Fingers() []ID { return slices.Clone(f.fingers) }

// Nodes returns successors and fingers, each once, nearest first.
func (f *Fingers) Nodes() []ID {
	nodes := slices.Concat(f.successors, f.fingers)
	slices.SortFunc(nodes, func(a, b ID) int { return f.self.Distance(a).Compare(f.self.Distance(b)) })
	return slices.Compact(nodes)
}

// ClosestPreceding returns the node of the table that most closely precedes
// target: the last in the open arc from self to target. It is false if no node
// of the table lies there. (Chord 2001, figure 4, closest_preceding_finger; in the
// journal version of 2003 it is closest_preceding_node, figure 5, and looks at
// the successor list too, as here.)
func (f *Fingers) ClosestPreceding(target ID) (ID, bool) {
	var best, distance ID
	for _, table := range [][]ID{f.fingers, f.successors} {
		for _, node := range slices.Backward(table) {
			if node == target || !node.Between(f.self, target) {
				continue
			}
			if d := f.self.Distance(node); d.Compare(distance) > 0 {
				best, distance = node, d
			}
			break // the rest of this table is nearer to self
		}
	}
	return best, !distance.IsZero()
}

// Neighbours returns the peers to which self keeps connections: so many
// successors and its distinct fingers, nearest clockwise first. The peers may
// come in any order, more than once, and with self among them.
func Neighbours(self ID, peers []ID, successors int) []ID {
	nodes := slices.Clone(peers)
	slices.SortFunc(nodes, ID.Compare)
	f := NewFingers(self, slices.Compact(nodes), successors)
	return f.Nodes()
}

// NextHop returns the connected peer to which self hands what is for target:
// target if it is connected, else the peer that most closely precedes target.
// The peer is always nearer to target, clockwise, than self is, so that a relayed
// message never loops and arrives in fewer hops than there are nodes. It is false
// if target is self or no connected peer is nearer; while self is connected to
// its true successor that does not happen for a target that exists.
func NextHop(self ID, connected []ID, target ID) (ID, bool) {
	var best, distance ID
	limit := self.Distance(target)
	if limit.IsZero() {
		return ID{}, false
	}
	for _, peer := range connected {
		d := self.Distance(peer)
		if d.Compare(distance) > 0 && d.Compare(limit) <= 0 {
			best, distance = peer, d
		}
	}
	return best, !distance.IsZero()
}

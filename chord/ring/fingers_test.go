package ring

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// sortedNodes draws a circle of nodes, some of them close together.
func sortedNodes(least, most int) *rapid.Generator[[]ID] {
	return rapid.Map(rapid.SliceOfNDistinct(anyID(), least, most, rapid.ID[ID]), func(ids []ID) []ID {
		slices.SortFunc(ids, ID.Compare)
		return ids
	})
}

// successorByScan is the first node at or after point, without a search.
func successorByScan(nodes []ID, point ID) ID {
	return slices.MinFunc(nodes, func(a, b ID) int { return point.Distance(a).Compare(point.Distance(b)) })
}

// TestFingersByDefinition compares with table 1 of Chord: all 384 entries, each
// looked for by itself.
func TestFingersByDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := sortedNodes(1, 40).Draw(t, "nodes")
		self := nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "self")]
		s := rapid.IntRange(0, 8).Draw(t, "successors")

		var want []ID
		for k := range Bits {
			finger := successorByScan(nodes, self.AddPowerOfTwo(k))
			if finger != self && !slices.Contains(want, finger) {
				want = append(want, finger)
			}
		}
		f := NewFingers(self, nodes, s)
		if !slices.Equal(f.Fingers(), want) {
			t.Fatalf("fingers of %s:\n got %s\nwant %s", self, f.Fingers(), want)
		}

		others := slices.DeleteFunc(slices.Clone(nodes), func(id ID) bool { return id == self })
		slices.SortFunc(others, func(a, b ID) int { return self.Distance(a).Compare(self.Distance(b)) })
		if got := f.Successors(); !slices.Equal(got, others[:min(s, len(others))]) {
			t.Fatalf("successors of %s:\n got %s\nwant %s", self, got, others[:min(s, len(others))])
		}

		// It does not matter whether self is on the list.
		g := NewFingers(self, slices.DeleteFunc(slices.Clone(nodes), func(id ID) bool { return id == self }), s)
		if !slices.Equal(f.Nodes(), g.Nodes()) {
			t.Fatalf("without self on the list: %s, want %s", g.Nodes(), f.Nodes())
		}
		// Nor in which order the peers come, nor how often.
		peers := rapid.Permutation(slices.Concat(nodes, nodes[:len(nodes)/2])).Draw(t, "peers")
		before := slices.Clone(peers)
		if got := Neighbours(self, peers, s); !slices.Equal(got, f.Nodes()) {
			t.Fatalf("neighbours %s, want %s", got, f.Nodes())
		}
		if !slices.Equal(peers, before) {
			t.Fatal("Neighbours changed the caller's list")
		}
	})
}

func TestClosestPrecedingByDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := sortedNodes(1, 40).Draw(t, "nodes")
		self := nodes[rapid.IntRange(0, len(nodes)-1).Draw(t, "self")]
		f := NewFingers(self, nodes, rapid.IntRange(0, 8).Draw(t, "successors"))
		target := anyID().Draw(t, "target")
		if rapid.Bool().Draw(t, "a node") {
			target = rapid.SampledFrom(nodes).Draw(t, "node")
		}

		var want ID
		found := false
		for _, id := range f.Nodes() { // nearest first
			if id != target && id.Between(self, target) {
				want, found = id, true
			}
		}
		got, ok := f.ClosestPreceding(target)
		if ok != found || got != want {
			t.Fatalf("closest to %s: %s %v, want %s %v", target, got, ok, want, found)
		}
	})
}

func TestNextHop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		connected := rapid.SliceOfN(anyID(), 0, 20).Draw(t, "connected")
		self, target := anyID().Draw(t, "self"), anyID().Draw(t, "target")
		if len(connected) > 0 && rapid.Bool().Draw(t, "direct") {
			target = rapid.SampledFrom(connected).Draw(t, "peer")
		}
		got, ok := NextHop(self, connected, target)
		if self == target {
			if ok {
				t.Fatal("a hop to oneself")
			}
			return
		}
		if slices.Contains(connected, target) {
			if !ok || got != target {
				t.Fatalf("target is connected, but the hop is %s %v", got, ok)
			}
			return
		}
		nearer := func(id ID) bool { return id.Distance(target).Compare(self.Distance(target)) < 0 }
		if ok && (!slices.Contains(connected, got) || !nearer(got)) {
			t.Fatalf("the hop %s is not connected, or not nearer to the target", got)
		}
		for _, id := range connected {
			if nearer(id) && (!ok || id.Distance(target).Compare(got.Distance(target)) < 0) {
				t.Fatalf("%s precedes the target more closely than %s %v", id, got, ok)
			}
		}
	})
}

// circleOf is a simulated network in which every node knows its fingers.
type circleOf struct {
	nodes      []ID
	tables     map[ID]*Fingers
	neighbours map[ID][]ID
}

func newCircleOf(n int, random *rand.Rand) *circleOf {
	c := &circleOf{tables: map[ID]*Fingers{}, neighbours: map[ID][]ID{}}
	for range n {
		c.nodes = append(c.nodes, randomID(random))
	}
	slices.SortFunc(c.nodes, ID.Compare)
	return c
}

func randomID(random *rand.Rand) ID {
	var id ID
	for i := range id.b {
		id.b[i] = byte(random.Uint32())
	}
	return id
}

// table returns the fingers of a node with one successor, made when first asked for.
func (c *circleOf) table(id ID) *Fingers {
	f := c.tables[id]
	if f == nil {
		made := NewFingers(id, c.nodes, 1)
		f = &made
		c.tables[id] = f
		c.neighbours[id] = made.Nodes()
	}
	return f
}

// owner is the successor of point.
func (c *circleOf) owner(point ID) ID {
	j, _ := slices.BinarySearchFunc(c.nodes, point, ID.Compare)
	return c.nodes[j%len(c.nodes)]
}

// lookup finds the owner of point from a node as Chord does (2001, figure 4,
// find_successor): along closest preceding fingers to the predecessor of point,
// which answers with its successor. It returns how many fingers were followed; to
// call on the owner is one hop more.
func (c *circleOf) lookup(t *testing.T, from, point ID) (owner ID, followed int) {
	for n := from; ; followed++ {
		f := c.table(n)
		if successor := f.Successors()[0]; point.Between(n, successor) {
			return successor, followed
		}
		next, ok := f.ClosestPreceding(point)
		if !ok {
			t.Fatalf("%s has no finger before %s, which is not its successor's", n, point)
		}
		n = next
	}
}

// relay hands a message from node to node with NextHop, as the mesh does.
func (c *circleOf) relay(t *testing.T, from, to ID) (hops int) {
	for n := from; n != to; hops++ {
		c.table(n)
		next, ok := NextHop(n, c.neighbours[n], to)
		if !ok {
			t.Fatalf("%s knows no hop to %s", n, to)
		}
		if next.Distance(to).Compare(n.Distance(to)) >= 0 {
			t.Fatalf("the hop from %s to %s goes away from %s", n, next, to)
		}
		n = next
	}
	return hops
}

// TestPathLength repeats the experiment of Chord's section 6.3 and figure 10
// (2001): networks of 2^k nodes, random lookups from random nodes, the mean and
// the 1st and 99th percentile of the path length. The paper's finding: the mean
// is about ½ log2 N, for the fingers that are followed are the bits of the
// distance that are 1, every second one of log2 N; so 6 for the 2^12 nodes of its
// figure 10(b). The same holds for the mesh's relaying from node to node.
func TestPathLength(t *testing.T) {
	const lookups = 5_000
	random := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	fmt.Fprintf(&b, "%8s %14s | %21s | %21s | %s\n", "N", "paper: ½log2N", "lookup: mean p1 p99", "relay: mean p1 p99", "connections a node")
	for k := 4; k <= 14; k++ {
		c := newCircleOf(1<<k, random)
		node := func() ID { return c.nodes[random.IntN(len(c.nodes))] }
		var lookup, relay []int
		for range lookups {
			point := randomID(random)
			owner, hops := c.lookup(t, node(), point)
			if owner != c.owner(point) {
				t.Fatalf("the lookup of %s ended at %s, the owner is %s", point, owner, c.owner(point))
			}
			lookup = append(lookup, hops)
			relay = append(relay, c.relay(t, node(), node()))
		}
		connections := 0
		for _, peers := range c.neighbours {
			connections += len(peers)
		}
		paper := float64(k) / 2
		lm, l1, l99 := spread(lookup)
		rm, r1, r99 := spread(relay)
		fmt.Fprintf(&b, "%8d %14.1f | %11.2f %4d %4d | %11.2f %4d %4d | %.1f\n", 1<<k, paper, lm, l1, l99, rm, r1, r99,
			float64(connections)/float64(len(c.neighbours)))
		for name, mean := range map[string]float64{"lookup": lm, "relay": rm} {
			if math.Abs(mean-paper) > 0.1*paper+0.3 {
				t.Errorf("N=2^%d: the mean path of a %s is %.2f, the paper's %.1f", k, name, mean, paper)
			}
		}
	}
	t.Logf("path length in hops\n%s", b.String())
}

func spread(xs []int) (mean float64, p1, p99 int) {
	slices.Sort(xs)
	sum := 0
	for _, x := range xs {
		sum += x
	}
	return float64(sum) / float64(len(xs)), xs[len(xs)/100], xs[len(xs)*99/100]
}

func TestAloneOnTheCircle(t *testing.T) {
	self := NodeID([]byte("alone"))
	for _, nodes := range [][]ID{nil, {self}} {
		f := NewFingers(self, nodes, 4)
		if len(f.Nodes()) != 0 || len(Neighbours(self, nodes, 4)) != 0 {
			t.Errorf("neighbours of a node alone: %s", f.Nodes())
		}
		if id, ok := f.ClosestPreceding(NodeID([]byte("other"))); ok {
			t.Errorf("closest preceding of a node alone: %s", id)
		}
		if id, ok := NextHop(self, nodes, NodeID([]byte("other"))); ok {
			t.Errorf("next hop of a node alone: %s", id)
		}
	}
}

func BenchmarkNeighbours(b *testing.B) {
	for _, n := range []int{48, 1024} {
		c := newCircleOf(n, rand.New(rand.NewPCG(1, 2)))
		peers := slices.Clone(c.nodes)
		rand.New(rand.NewPCG(3, 4)).Shuffle(n, func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Neighbours(c.nodes[0], peers, 4)
			}
		})
	}
}

package chord

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// join starts members that join the ring of the first one.
func join(t testing.TB, to *Node, names ...string) []*Node {
	t.Helper()
	var nodes []*Node
	for _, name := range names {
		nodes = append(nodes, openNode(t, Config{Name: name, Memory: true, Seeds: []string{to.GossipAddr()}}))
	}
	return nodes
}

// shaped waits until all nodes work by a final configuration with exactly these
// members.
func shaped(t testing.TB, nodes []*Node, names ...string) {
	t.Helper()
	slices.Sort(names)
	for _, n := range nodes {
		eventually(t, func() bool {
			st := n.ring.Load()
			return st != nil && !st.placement.Configuration().Joint() && slices.Equal(st.placement.Configuration().Names(), names)
		}, "%s does not see the ring of %v; it is %v, %s", n.cfg.Name, names, lazy(func() string {
			st := n.ring.Load()
			if st == nil {
				return "none"
			}
			return string(st.placement.Configuration().Encode())
		}), lazy(func() string { return n.reshaper.waits() }))
	}
}

// lazy is a text that is made when it is printed.
type lazy func() string

func (l lazy) String() string { return l() }

// TestGrowAndShrink goes from one member to eight and back to three, and
// everything stays readable at all members.
func TestGrowAndShrink(t *testing.T) {
	t.Parallel()
	nodes := openRing(t, 1)
	keys := numbered("grow/", 300)
	fill(t, nodes, keys)
	check := func() {
		t.Helper()
		ctx := within(t, limit)
		for i, key := range keys {
			e, err := nodes[i%len(nodes)].Get(ctx, key, backend.GetOptions{})
			require.NoError(t, err)
			require.NotNil(t, e, key)
			require.Equal(t, key, string(e.Value))
		}
		page, err := nodes[len(nodes)-1].List(ctx, backend.ListQuery{Prefix: "grow/"})
		require.NoError(t, err)
		require.Len(t, page.Items, len(keys))
	}
	names := []string{"m0"}
	for _, more := range [][]string{{"m1", "m2"}, {"m3", "m4"}, {"m5", "m6", "m7"}} {
		began := time.Now()
		nodes = append(nodes, join(t, nodes[0], more...)...)
		names = append(names, more...)
		shaped(t, nodes, names...)
		t.Logf("%d members after %v", len(nodes), time.Since(began).Round(time.Millisecond))
		check()
	}
	for _, n := range nodes[3:] {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		began := time.Now()
		require.NoError(t, n.Leave(ctx))
		cancel()
		t.Logf("%s left after %v", n.cfg.Name, time.Since(began).Round(time.Millisecond))
		require.NoError(t, n.Close())
	}
	nodes = nodes[:3]
	shaped(t, nodes, "m0", "m1", "m2")
	check()
	for _, key := range keys {
		loc, err := nodes[0].Locate(within(t, limit), key)
		require.NoError(t, err)
		for _, o := range loc.Owners {
			require.NotEqual(t, "none", o.Ballot, fmt.Sprintf("%s at %s", key, o.Name))
		}
	}
}

package chord

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/store"
)

// cellsUnder counts the cells that a member has under a prefix.
func cellsUnder(t testing.TB, n *Node, prefix string) int {
	t.Helper()
	count, after := 0, ""
	for more := true; more; {
		page, err := n.store.Scan(context.Background(), store.ScanOptions{Prefix: prefix, After: after})
		require.NoError(t, err)
		if count += len(page.Cells); len(page.Cells) > 0 {
			after = page.Cells[len(page.Cells)-1].Key
		}
		more = page.More
	}
	return count
}

// TestTombstonesAreForgotten: what was deleted goes from every disk, once all
// owners are there, and does not come back.
func TestTombstonesAreForgotten(t *testing.T) {
	t.Parallel()
	var nodes []*Node
	var configs []Config
	for i := range 5 {
		cfg := Config{Name: fmt.Sprint("m", i), DataDir: t.TempDir(), Expect: 5, forgetAge: 100 * time.Millisecond, ReapAfter: -1}
		if i > 0 {
			cfg.Seeds = []string{nodes[0].GossipAddr()}
		}
		configs = append(configs, cfg)
		nodes = append(nodes, openNode(t, cfg))
	}
	for _, n := range nodes {
		waitReady(t, n)
	}
	keys := numbered("gone/", 400)
	fill(t, nodes, keys)
	fill(t, nodes, numbered("kept/", 100))
	drop := func(keys []string) {
		ctx := within(t, limit)
		require.NoError(t, eachOf(len(keys), func(i int) error { return nodes[i%4].Delete(ctx, keys[i], backend.DeleteOptions{}) }))
	}
	drop(keys[:200])
	for _, n := range nodes {
		eventually(t, func() bool { return cellsUnder(t, n, "gone/") == 200 }, "%s keeps tombstones", n.cfg.Name)
	}
	require.NoError(t, nodes[4].Close())
	drop(keys[200:])
	eventually(t, func() bool { return !nodes[0].peers.usable(nodes[4].id.Node()) }, "nobody misses it")
	require.Equal(t, 200, cellsUnder(t, nodes[0], "gone/"), "forgotten while an owner had not heard of it")
	configs[4].Seeds = []string{nodes[0].GossipAddr()}
	nodes[4] = openNode(t, configs[4])
	for _, n := range nodes {
		eventually(t, func() bool { return cellsUnder(t, n, "gone/") == 0 }, "%s keeps tombstones", n.cfg.Name)
	}
	for i, n := range nodes {
		page, err := n.List(within(t, limit), backend.ListQuery{})
		require.NoError(t, err)
		require.Len(t, page.Items, 100)
		require.Empty(t, get(t, n, keys[i]))
	}
	put(t, nodes[1], keys[0], "again")
	require.Equal(t, "again", get(t, nodes[3], keys[0]))
}

// TestAgeOfTombstones: how old a tombstone is does not depend on the clock of who
// deleted the key, nor on that of who looks.
func TestAgeOfTombstones(t *testing.T) {
	var ahead atomic.Int64
	n := openMembers(t, 1, 1, func(_ int, cfg *Config) {
		cfg.wall = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})[0]
	waitReady(t, n)
	put(t, n, "gone", "v")
	require.NoError(t, n.Delete(within(t, limit), "gone", backend.DeleteOptions{}))
	ahead.Store(int64(9 * time.Minute))
	page, err := n.store.Scan(t.Context(), store.ScanOptions{Prefix: "gone"})
	require.NoError(t, err)
	require.Len(t, page.Cells, 1)
	cell, st := &page.Cells[0], n.ring.Load()
	f := newForgetter(n, nil)
	require.False(t, f.due(st, cell, time.Millisecond), "it was never seen before")
	require.False(t, f.due(st, cell, defaultForgetAge))
	eventually(t, func() bool { return f.due(st, cell, time.Millisecond) }, "it grows old")
	f.passed()
	require.True(t, f.due(st, cell, time.Millisecond), "a pass that saw it forgets when")
	f.passed()
	f.passed()
	require.Empty(t, f.sightings, "what a pass does not see is gone")
	require.False(t, f.due(st, cell, time.Millisecond))

	abandon(t, n, register.Committed, "new", "gone")
	page, err = n.store.Scan(t.Context(), store.ScanOptions{Prefix: "gone"})
	require.NoError(t, err)
	require.False(t, page.Cells[0].Cell.Value.Live)
	require.False(t, f.due(st, &page.Cells[0], 0), "what has an intent is no tombstone")
	copies, err := n.onPage(t.Context(), &pageRequest{Epoch: 1, For: n.id.Bytes()})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(copies.Copies, func(c copyNote) bool { return c.Key == "gone" && c.Live }), "an owner that lacks the intent is given it")
}

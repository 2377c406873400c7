package chord

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// TestListWithMembersDown closes two of five members, before and while it lists.
func TestListWithMembersDown(t *testing.T) {
	nodes := openRing(t, 5)
	keys := numbered("k/", 600)
	fill(t, nodes, keys)
	list := func() time.Duration {
		start := time.Now()
		res, err := nodes[0].List(within(t, limit), backend.ListQuery{Prefix: "k/", Values: true})
		require.NoError(t, err)
		require.Equal(t, keys, res.Names())
		for _, it := range res.Items {
			require.Equal(t, it.Name, string(it.Entry.Value))
		}
		return time.Since(start)
	}
	whole := list()
	closed := make(chan error, 1)
	var longest time.Duration
	go func() { closed <- nodes[4].Close() }()
	for done := false; !done; {
		longest = max(longest, list())
		select {
		case err := <-closed:
			require.NoError(t, err)
			done = true
		default:
		}
	}
	require.NoError(t, nodes[3].Close())
	for range 20 {
		longest = max(longest, list())
	}
	t.Logf("600 values in %v with five members; the slowest list while two went took %v", whole, longest)
	require.Less(t, longest, 5*time.Second)
	require.NoError(t, nodes[0].Delete(within(t, limit), keys[0], backend.DeleteOptions{}))
	keys = keys[1:]
	list()
}

// TestListFetchesValues: the members that were to send the data are gone, and the
// asking node has not noticed.
func TestListFetchesValues(t *testing.T) {
	nodes := openRing(t, 5)
	keys := numbered("k/", 300)
	fill(t, nodes, keys)
	l := newListing(nodes[0], nodes[0].ring.Load(), backend.ListQuery{Prefix: "k/", Values: true})
	for _, n := range nodes[3:] { // nobody calls them down: they are only not asked
		for i, m := range l.members {
			if m == n.id.Node() {
				l.members[i] = n.id.Node() + 1
			}
		}
	}
	res, err := l.run(within(t, limit))
	require.NoError(t, err)
	require.Len(t, res.Items, len(keys))
	without := 0
	for _, k := range l.settled {
		if !k.cell.whole {
			without++
		}
	}
	require.Positive(t, without, "no value had to be fetched")
	for i, it := range res.Items {
		require.Equal(t, keys[i], string(it.Entry.Value))
		require.Equal(t, keys[i], it.Entry.Key)
	}
}

// TestListSettlesHalfWrites: two of three members are there, and one of them misses
// what the other and the third agreed on, which only rounds of the listing's own
// can settle.
func TestListSettlesHalfWrites(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	open := func(i int, seeds ...string) *Node {
		n := openNode(t, Config{Name: fmt.Sprint("m", i), DataDir: dirs[i], Expect: 3, Seeds: seeds})
		return n
	}
	first := open(0)
	second, third := open(1, first.GossipAddr()), open(2, first.GossipAddr())
	for _, n := range []*Node{first, second, third} {
		waitReady(t, n)
	}
	keys := numbered("k/", 200)
	fill(t, []*Node{first}, keys[:100])
	require.NoError(t, third.Close())
	fill(t, []*Node{first}, keys[100:])
	require.NoError(t, first.Delete(within(t, limit), keys[0], backend.DeleteOptions{}))
	require.NoError(t, second.Close())
	third = open(2, first.GossipAddr())
	waitReady(t, third)
	start := time.Now()
	res, err := third.List(within(t, limit), backend.ListQuery{Prefix: "k/", Values: true})
	require.NoError(t, err)
	require.Equal(t, keys[1:], res.Names())
	for _, it := range res.Items {
		require.Equal(t, it.Name, string(it.Entry.Value))
	}
	t.Logf("101 keys settled in %v", time.Since(start))
}

// TestListWithoutQuorum ends at the deadline, says how many answered, and a list
// that waits goes on by itself as soon as it can.
func TestListWithoutQuorum(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	nodes := openMembers(t, 5, 5, func(i int, cfg *Config) {
		if i == 2 {
			cfg.Memory, cfg.DataDir = false, dir
		}
	})
	for _, n := range nodes {
		waitReady(t, n)
	}
	fill(t, nodes, numbered("k/", 10))
	for _, n := range nodes[2:] {
		require.NoError(t, n.Close())
	}
	ctx := within(t, 500*time.Millisecond)
	start := time.Now()
	_, err := nodes[0].List(ctx, backend.ListQuery{Prefix: "k/"})
	require.Equal(t, backend.NoQuorum, backend.CodeOf(err), "%v", err)
	require.ErrorContains(t, err, "2 of 5")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), 2*time.Second)
	require.GreaterOrEqual(t, time.Since(start), 500*time.Millisecond)

	got := make(chan error, 1)
	go func() {
		_, err := nodes[1].List(context.Background(), backend.ListQuery{Prefix: "k/"})
		got <- err
	}()
	back := openNode(t, Config{Name: "m2", DataDir: dir, Seeds: []string{nodes[0].GossipAddr()}})
	waitReady(t, back)
	select {
	case err := <-got:
		require.NoError(t, err)
	case <-time.After(limit):
		t.Fatal("the list does not go on")
	}
	require.Equal(t, numbered("k/", 10), names(t, back, backend.ListQuery{Prefix: "k/"}))
}

// TestListEndsWithItsNode: a list that waits for members ends when its node is
// closed, without a deadline.
func TestListEndsWithItsNode(t *testing.T) {
	nodes := openRing(t, 3)
	for _, n := range nodes[1:] {
		require.NoError(t, n.Close())
	}
	got := make(chan error, 1)
	go func() {
		_, err := nodes[0].List(context.Background(), backend.ListQuery{})
		got <- err
	}()
	eventually(t, func() bool { return !status(t, nodes[0]).Quorum }, "the others are gone")
	require.NoError(t, nodes[0].Close())
	select {
	case err := <-got:
		require.Equal(t, backend.Closed, backend.CodeOf(err), "%v", err)
	case <-time.After(limit):
		t.Fatal("the list does not end")
	}
}

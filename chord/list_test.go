package chord

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/chord/register"
)

// names lists q and returns the names.
func names(t testing.TB, n *Node, q backend.ListQuery) []string {
	t.Helper()
	res, err := n.List(within(t, limit), q)
	require.NoError(t, err)
	return res.Names()
}

// TestListIsASnapshot: writers put a/i and then b/i, and delete b/i and then a/i.
// So whoever sees b/i at one instant sees a/i too.
func TestListIsASnapshot(t *testing.T) {
	nodes := openRing(t, 3)
	nodes = append(nodes, openNode(t, Config{Name: "client", Role: RoleClient, Seeds: []string{nodes[0].GossipAddr()}}))
	waitReady(t, nodes[3])
	const writers, listers, lists = 4, 4, 40
	ctx := within(t, 2*limit)
	var writing, listing sync.WaitGroup
	var ended atomic.Bool
	for w := range writers {
		n := nodes[w%len(nodes)]
		writing.Go(func() {
			for i := 0; !ended.Load(); i++ {
				a, b := fmt.Sprintf("s/a/%d-%d", w, i%5), fmt.Sprintf("s/b/%d-%d", w, i%5)
				for _, step := range []func() error{
					func() error { _, err := n.Put(ctx, a, nil, backend.PutOptions{}); return err },
					func() error { _, err := n.Put(ctx, b, nil, backend.PutOptions{}); return err },
					func() error { return n.Delete(ctx, b, backend.DeleteOptions{}) },
					func() error { return n.Delete(ctx, a, backend.DeleteOptions{}) },
				} {
					if err := step(); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	var answered, conflicts, both atomic.Int64
	for l := range listers {
		n := nodes[l%len(nodes)]
		listing.Go(func() {
			for i := range lists {
				res, err := n.List(ctx, backend.ListQuery{Prefix: "s/", Values: i%2 == 0})
				if backend.CodeOf(err) == backend.Conflict {
					conflicts.Add(1)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				answered.Add(1)
				got := res.Names()
				for _, name := range got {
					if name[2] == 'b' {
						both.Add(1)
						if _, there := slices.BinarySearch(got, "s/a"+name[3:]); !there {
							t.Errorf("a snapshot has %q and not its a: %q", name, got)
						}
					}
				}
			}
		})
	}
	listing.Wait()
	ended.Store(true)
	writing.Wait()
	t.Logf("%d snapshots, %d with a pair, %d conflicts", answered.Load(), both.Load(), conflicts.Load())
	require.Positive(t, answered.Load())
	require.Positive(t, both.Load())
}

// TestListMoreThanAPage compares the ring with the memory backend where the folder
// does not fit a page of the members' answers, so that the rest is skipped.
func TestListMoreThanAPage(t *testing.T) {
	nodes := openRing(t, 3)
	model := memory.New(backend.DefaultLimits())
	t.Cleanup(func() { require.NoError(t, model.Close()) })
	keys := append(numbered("dir/", 9000), "a", "dir", "dir!", "dir0", "e/1", "e/2", "z")
	fill(t, nodes, keys)
	for _, k := range keys {
		_, err := model.Put(t.Context(), k, []byte(k), backend.PutOptions{})
		require.NoError(t, err)
	}
	for _, q := range []backend.ListQuery{
		{},
		{Separator: "/"},
		{Separator: "/", Limit: 3},
		{Separator: "/", Limit: 4},
		{Separator: "/", After: "dir"},
		{Separator: "/", After: "dir/"},
		{Separator: "/", After: "dir/04500"},
		{Separator: "/", After: "dir/", Limit: 2},
		{Separator: "/", After: "e/"},
		{Separator: "0"},
		{Separator: "0", After: "dir/0"},
		{Prefix: "dir", Separator: "/"},
		{Prefix: "dir/", Separator: "/", Limit: 5000},
		{Prefix: "dir/", After: "dir/03998", Limit: 4003},
		{Prefix: "dir/08", Values: true},
		{Prefix: "dir/", After: "dir/08999"},
		{Limit: 1},
		{After: "dir/08998", Limit: 2, Values: true},
		{Prefix: "none/"},
	} {
		want, err := model.List(t.Context(), q)
		require.NoError(t, err)
		start := time.Now()
		got, err := nodes[rand.IntN(3)].List(within(t, limit), q)
		require.NoError(t, err)
		t.Logf("%+v: %d items in %v", q, len(got.Items), time.Since(start).Round(time.Millisecond))
		require.Equal(t, want.Names(), got.Names(), "%+v", q)
		require.Equal(t, want.More, got.More, "%+v", q)
		for i := range got.Items {
			require.Equal(t, want.Items[i].Folded, got.Items[i].Folded)
			if e := got.Items[i].Entry; q.Values && !got.Items[i].Folded {
				require.Equal(t, e.Key, string(e.Value))
			} else {
				require.Nil(t, e)
			}
		}
	}
}

// busy has writers overwrite keys until the returned function is called.
func busy(t *testing.T, nodes []*Node, writers int, key func(w, i int) string) (stop func() (puts int64)) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var puts atomic.Int64
	for w := range writers {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := nodes[w%len(nodes)].Put(ctx, key(w, i), []byte("v"), backend.PutOptions{}); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				puts.Add(1)
			}
		})
	}
	return func() int64 { cancel(); wg.Wait(); return puts.Load() }
}

// TestListBesideABusyFolder: what goes on in a folder does not hold up a listing
// that only names it, whether it is large or small.
func TestListBesideABusyFolder(t *testing.T) {
	nodes := openRing(t, 3)
	fill(t, nodes, append(numbered("large/", 5000), "large", "small", "zoo"))
	fill(t, nodes, numbered("small/", 40))
	stop := busy(t, nodes, 6, func(w, i int) string {
		if w%2 == 0 {
			return fmt.Sprintf("large/%05d", (i*37+w)%5000)
		}
		return fmt.Sprintf("small/%05d", (i+w*7)%40)
	})
	for range 40 {
		require.Equal(t, []string{"large", "large/", "small", "small/", "zoo"}, names(t, nodes[1], backend.ListQuery{Separator: "/"}))
	}
	require.Positive(t, stop())
}

// TestListOfWhatNeverRests: it ends soon, with a result or a Conflict.
func TestListOfWhatNeverRests(t *testing.T) {
	nodes := openRing(t, 3)
	stop := busy(t, nodes, 6, func(w, _ int) string { return fmt.Sprintf("hot/%d", w) })
	var longest time.Duration
	conflicts := 0
	for i := range 16 {
		start := time.Now()
		_, err := nodes[0].List(within(t, limit), backend.ListQuery{Prefix: "hot/", Values: i%2 == 0})
		longest = max(longest, time.Since(start))
		if backend.CodeOf(err) == backend.Conflict {
			conflicts++
			continue
		}
		require.NoError(t, err)
	}
	puts := stop()
	t.Logf("16 lists beside %d puts: %d conflicts, the longest took %v", puts, conflicts, longest)
	require.Less(t, longest, 5*time.Second)
}

// TestListAgainstModel runs random operations one after the other on a ring and on
// the memory backend.
func TestListAgainstModel(t *testing.T) {
	nodes := openRing(t, 3)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		prefix := fmt.Sprintf("run%d/", run)
		model := memory.New(backend.DefaultLimits())
		defer model.Close()
		part := rapid.SampledFrom([]string{"", "a", "b", "a/", "/", "b/a", "é", "~"})
		key := func() string { return prefix + "k" + part.Draw(rt, "1") + part.Draw(rt, "2") }
		ctx := within(t, limit)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			n := nodes[rapid.IntRange(0, 2).Draw(rt, "node")]
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0, 1:
				k := key()
				for _, b := range []backend.Backend{n, model} {
					_, err := b.Put(ctx, k, []byte(k), backend.PutOptions{})
					require.NoError(rt, err)
				}
			case 2:
				k := key()
				for _, b := range []backend.Backend{n, model} {
					require.NoError(rt, b.Delete(ctx, k, backend.DeleteOptions{}))
				}
			default:
				q := backend.ListQuery{
					Prefix: prefix + rapid.SampledFrom([]string{"", "k", "ka", "kb/"}).Draw(rt, "prefix"), Separator: rapid.SampledFrom([]string{"", "/", "a", "é"}).Draw(rt, "separator"),
					Limit: rapid.IntRange(0, 4).Draw(rt, "limit"), Values: rapid.Bool().Draw(rt, "values"),
				}
				if rapid.Bool().Draw(rt, "later") {
					q.After = key()
				}
				want, err := model.List(ctx, q)
				require.NoError(rt, err)
				got, err := n.List(ctx, q)
				require.NoError(rt, err)
				require.Equal(rt, want.Names(), got.Names(), "%+v", q)
				require.Equal(rt, want.More, got.More, "%+v", q)
				for i := range got.Items {
					if e := got.Items[i].Entry; e != nil {
						require.Equal(rt, want.Items[i].Entry.Value, e.Value)
						require.LessOrEqual(rt, e.ModifyIndex, got.Index)
					}
				}
			}
		}
	})
}

// TestNamesOfTheDead: between the two pages that a listing of names looks at, a
// session takes a key of the first and ends, which deletes the key, and then another
// key is put that the second page shows. The two were never there together.
func TestNamesOfTheDead(t *testing.T) {
	nodes := openRing(t, 3)
	n, ctx := nodes[0], within(t, limit)
	put(t, n, "l/k", "v")
	for i := range 40 { // tombstones fill the first page
		put(t, n, fmt.Sprintf("l/t%02d", i), "v")
		require.NoError(t, n.Delete(ctx, fmt.Sprintf("l/t%02d", i), backend.DeleteOptions{}))
	}
	id := newSession(t, n, backend.SessionOptions{Behavior: backend.BehaviorDelete, LockDelay: backend.NoLockDelay})
	lock := func(key string) {
		_, err := n.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbLock, Key: key, Session: id}})
		require.NoError(t, err)
	}
	lock("seen")
	st, err := n.serving(ctx, "l/")
	require.NoError(t, err)
	l := newListing(n, st, backend.ListQuery{Prefix: "l/", Limit: 20})
	require.NoError(t, l.scan(ctx))
	require.False(t, l.ended)
	lock("l/k")
	// It ends, and nobody has swept its keys yet.
	_, err = registers{n, ctx}.Change(register.SessionKey(id), register.Change{Kind: register.End})
	require.NoError(t, err)
	e, err := n.Get(ctx, "seen", backend.GetOptions{})
	require.NoError(t, err)
	require.Nil(t, e)
	put(t, n, "l/z", "1")
	require.NoError(t, l.scan(ctx))
	require.True(t, l.ended)
	var res *backend.ListResult
	for stands := false; !stands; {
		again, err := l.decide(ctx)
		require.NoError(t, err)
		moves, err := l.refresh(ctx)
		require.NoError(t, err)
		moved, err := l.view(ctx, moves, again)
		require.NoError(t, err)
		res, _ = l.fold(l.viewed)
		stands = l.stands(res, false, moved)
		require.NoError(t, l.settle(ctx))
	}
	require.Len(t, res.Items, 1)
	require.Equal(t, "l/z", res.Items[0].Name)
}

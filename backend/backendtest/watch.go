package backendtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// quiet is how long nothing happens to what an idle watch watches, and
	// maxIdleReturns how often it may return in that time for nothing.
	quiet          = 300 * time.Millisecond
	maxIdleReturns = 5
	// maxSpurious is how often a watch may return for nothing before a change.
	maxSpurious = 100
	// watchRounds is how many changes a watch has to notice one by one.
	watchRounds = 300
)

var watchCases = []testCase{
	{"Watch tells the index at once when another one is asked for", func(c *check) {
		first := c.put("k", "v")
		index := c.put("k", "w")
		other := c.put("other", "v")
		for _, after := range []uint64{0, 1, first, index + 1, 1<<53 - 1} {
			require.Equal(c, index, c.watch(backend.WatchQuery{Key: c.key("k"), After: after}), "after %d", after)
		}
		in := c.put("dir/a", "v")
		newest := max(index, other, in) // indexes of different keys have no order
		for _, after := range []uint64{0, 1, newest - 1, newest + 1, 1<<53 - 1} {
			require.Equal(c, newest, c.watch(backend.WatchQuery{Prefix: c.prefix, After: after}), "after %d", after)
		}
		require.Equal(c, in, c.watch(backend.WatchQuery{Prefix: c.key("dir/")}))
		require.GreaterOrEqual(c, c.watch(backend.WatchQuery{}), newest, "the empty prefix is all keys")
	}},
	{"what is not there has an index of at least 1", func(c *check) {
		c.put("none/below", "v")
		c.put("nonesuch", "v")
		for _, q := range []backend.WatchQuery{{Key: c.key("none")}, {Prefix: c.key("nothing/")}} {
			require.Positive(c, c.watch(q))
			require.Positive(c, <-c.wakes(q))
		}
	}},
	{"Watch on a key waits for each kind of change", func(c *check) {
		for _, change := range []struct {
			name string
			do   func()
		}{
			{"create", func() { c.put("k", "v") }},
			{"put", func() { c.put("k", "w") }},
			{"put the same", func() { c.put("k", "w") }},
			{"conditional put", func() {
				_, err := c.putIf("k", "x", backend.IfIndex(c.get("k").ModifyIndex))
				require.NoError(c, err)
			}},
			{"delete", func() { c.delete("k") }},
			{"create again", func() { c.put("k", "v") }},
			{"pop", func() {
				_, err := c.b.Pop(c.ctx, c.key("k"))
				require.NoError(c, err)
			}},
		} {
			before := c.watch(backend.WatchQuery{Key: c.key("k")})
			woken := c.wakes(backend.WatchQuery{Key: c.key("k"), After: before})
			change.do()
			index := receive(c, "Watch notices: "+change.name, woken)
			require.Greater(c, index, before, "the index after: %s", change.name)
			if e, err := c.b.Get(c.ctx, c.key("k"), backend.GetOptions{}); err == nil && e != nil {
				require.Equal(c, e.ModifyIndex, index, "the index after: %s", change.name)
			}
			require.Equal(c, index, c.watch(backend.WatchQuery{Key: c.key("k")}))
		}
	}},
	{"Watch on a prefix wakes for every key under it", func(c *check) {
		c.put("dir/a", "v")
		for _, q := range []backend.WatchQuery{{Prefix: c.key("dir/")}, {Prefix: c.key("d")}, {Prefix: c.prefix}, {}} {
			for _, change := range []struct {
				name string
				do   func()
			}{
				{"create", func() { c.put("dir/b", "v") }},
				{"create deeper", func() { c.put("dir/sub/c", "v") }},
				{"put", func() { c.put("dir/a", "w") }},
				{"delete the newest", func() { c.delete("dir/a") }},
				{"delete", func() { c.delete("dir/b") }},
				{"delete deeper", func() { c.delete("dir/sub/c") }},
				{"create again", func() { c.put("dir/a", "v") }},
			} {
				q.After = 0
				q.After = c.watch(q)
				woken := c.wakes(q)
				change.do()
				require.GreaterOrEqual(c, receive(c, fmt.Sprintf("Watch on %q notices: %s", q.Prefix, change.name), woken), q.After)
			}
		}
	}},
	{"a change between two calls of Watch is not missed", func(c *check) {
		seen := c.put("k", "v")
		c.delete("k")
		deleted := c.watch(backend.WatchQuery{Key: c.key("k"), After: seen})
		require.Greater(c, deleted, seen)
		again := c.put("k", "v")
		require.Equal(c, again, c.watch(backend.WatchQuery{Key: c.key("k"), After: deleted}))
		require.Equal(c, again, c.watch(backend.WatchQuery{Prefix: c.prefix, After: deleted}))
		c.delete("k")
		c.put("other", "v")
		c.delete("other")
		require.Greater(c, c.watch(backend.WatchQuery{Prefix: c.prefix, After: again}), again)
	}},
	{"a Watch with nothing to see waits", func(c *check) {
		c.put("k", "v")
		for _, q := range []backend.WatchQuery{{Key: c.key("k")}, {Key: c.key("none")}, {Prefix: c.prefix}, {Prefix: c.key("nothing/")}} {
			c.idle(q)
		}
	}},
	{"the index of a List is one to Watch from", func(c *check) {
		index := func() uint64 { return c.list(backend.ListQuery{}).Index }
		c.put("a", "v")
		c.put("b", "v")
		require.Equal(c, index(), c.watch(backend.WatchQuery{Prefix: c.prefix}))
		c.delete("a")
		require.Equal(c, index(), c.watch(backend.WatchQuery{Prefix: c.prefix}))
		before := index()
		woken := c.wakes(backend.WatchQuery{Prefix: c.prefix, After: before})
		c.delete("b")
		require.GreaterOrEqual(c, receive(c, "Watch notices", woken), before)
		c.idle(backend.WatchQuery{Prefix: c.prefix})
	}},
	{"no wake-up is lost among random changes", func(c *check) {
		key, all := c.follow(backend.WatchQuery{Key: c.key("k")}), c.follow(backend.WatchQuery{Prefix: c.prefix})
		rng := rand.New(rand.NewPCG(4, 4))
		for round := range watchRounds {
			name := "k"
			if rng.IntN(3) == 0 {
				name = fmt.Sprint("other", rng.IntN(3))
			}
			// A delete changes something only if the key is there.
			if e, err := c.b.Get(c.ctx, c.key(name), backend.GetOptions{}); err == nil && e != nil && rng.IntN(3) == 0 {
				c.delete(name)
			} else {
				require.NoError(c, err)
				c.put(name, fmt.Sprint(round))
			}
			all.reach(c.watch(backend.WatchQuery{Prefix: c.prefix}))
			if name == "k" {
				key.reach(c.watch(backend.WatchQuery{Key: c.key("k")}))
			}
		}
	}},
	{"all who watch one key are woken", func(c *check) {
		const crowd = 200
		index := c.put("k", "v")
		var woken []<-chan uint64
		for i := range crowd {
			q := backend.WatchQuery{Key: c.key("k"), After: index}
			if i%2 == 0 {
				q = backend.WatchQuery{Prefix: c.key("k"), After: index}
			}
			woken = append(woken, c.wakes(q))
		}
		index = c.put("k", "w")
		for _, w := range woken {
			require.Equal(c, index, receive(c, "Watch notices", w))
		}
	}},
	{"Watch ends with its context", func(c *check) {
		index := c.put("k", "v")
		for _, q := range []backend.WatchQuery{{Key: c.key("k"), After: index}, {Prefix: c.prefix, After: index}} {
			short, cancel := context.WithTimeout(c.ctx, pollInterval)
			_, err := c.follows(short, q)
			cancel()
			c.fails(err, backend.NoQuorum, "")
			ctx, cancel := context.WithCancel(c.ctx)
			ended := make(chan error, 1)
			go func() {
				_, err := c.follows(ctx, q)
				ended <- err
			}()
			cancel()
			c.fails(receive(c, "Watch ends", ended), backend.NoQuorum, "")
		}
	}},
	{"a Watch is for a key or a prefix that can be", func(c *check) {
		for _, q := range []backend.WatchQuery{{Key: "/k"}, {Key: c.key("a\nb")}, {Prefix: "/"}, {Prefix: "\x00"}, {Key: c.key("k"), Prefix: c.prefix}} {
			_, err := c.b.(backend.Watcher).Watch(c.ctx, q)
			c.fails(err, backend.Invalid, "")
		}
	}},
}

var watchTxnCases = []testCase{
	{"Watch wakes for each key of a transaction", func(c *check) {
		for i, commit := range []func(value string){
			func(value string) {
				c.commit(c.set("a", value), c.op(backend.VerbDelete, "b"), c.op(backend.VerbDeleteTree, "dir/"))
			},
			func(value string) {
				tx := c.begin(backend.TxOptions{})
				tx.put("a", value)
				for _, name := range []string{"b", "dir/1", "dir/2"} {
					require.NoError(c, tx.Delete(c.ctx, c.key(name), backend.DeleteOptions{}))
				}
				require.NoError(c, tx.Commit(c.ctx))
			},
		} {
			for _, name := range []string{"a", "b", "dir/1", "dir/2"} {
				c.put(name, "v")
			}
			var woken []<-chan uint64
			for _, q := range []backend.WatchQuery{{Key: c.key("a")}, {Key: c.key("b")}, {Key: c.key("dir/2")}, {Prefix: c.key("dir/")}, {Prefix: c.prefix}} {
				q.After = c.watch(q)
				woken = append(woken, c.wakes(q))
			}
			commit(fmt.Sprint(i))
			for _, w := range woken {
				require.Positive(c, receive(c, "Watch notices the transaction", w))
			}
			require.Equal(c, c.get("a").ModifyIndex, c.watch(backend.WatchQuery{Key: c.key("a")}))
		}
	}},
}

// watch waits until q has something to tell.
func (c *check) watch(q backend.WatchQuery) uint64 {
	c.Helper()
	index, err := c.follows(c.ctx, q)
	require.NoError(c, err)
	return index
}

// follows watches until the index is another, which it must be in the end.
func (c *check) follows(ctx context.Context, q backend.WatchQuery) (uint64, error) {
	for range maxSpurious {
		index, err := c.b.(backend.Watcher).Watch(ctx, q)
		if err != nil || index != q.After {
			return index, err
		}
	}
	return 0, fmt.Errorf("a watch of %+v returned %d times for nothing", q, maxSpurious)
}

// wakes watches in the background and sends the first index that is another, or of a
// prefix the first that it is told: the changes of different keys have no order, and
// the index may stay where it was. An error is sent as 0, which is none.
func (c *check) wakes(q backend.WatchQuery) <-chan uint64 {
	watch := c.follows
	if q.Key == "" {
		watch = c.b.(backend.Watcher).Watch
	}
	woken := make(chan uint64, 1)
	go func() {
		index, err := watch(c.ctx, q)
		if err != nil {
			index = 0
		}
		woken <- index
	}()
	return woken
}

// idle requires that a watch of what does not change returns seldom.
func (c *check) idle(q backend.WatchQuery) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, quiet)
	defer cancel()
	var returns int
	for err := error(nil); err == nil && returns < 2*maxIdleReturns; returns++ {
		q.After, err = c.b.(backend.Watcher).Watch(ctx, q)
		if err != nil {
			c.fails(err, backend.NoQuorum, "")
		}
	}
	// The first returned at once and the last because of ctx.
	require.LessOrEqual(c, returns-2, maxIdleReturns, "a watch of %+v returned so often within %v though nothing changed", q, quiet)
}

// A follower watches and passes on every index.
type follower struct {
	c       *check
	query   backend.WatchQuery
	indexes chan uint64
	newest  uint64
}

func (c *check) follow(q backend.WatchQuery) *follower {
	f := &follower{c: c, query: q, indexes: make(chan uint64)}
	go func() {
		q := q
		for {
			index, err := c.follows(c.ctx, q)
			if err != nil {
				return
			}
			q.After = index
			select {
			case f.indexes <- index:
			case <-c.ctx.Done():
				return
			}
		}
	}()
	return f
}

// reach requires that the follower is told of index.
func (f *follower) reach(index uint64) {
	f.c.Helper()
	for f.newest != index {
		next := receive(f.c, fmt.Sprintf("a watch of %+v that knows %d is told of %d", f.query, f.newest, index), f.indexes)
		require.Greater(f.c, next, f.newest, "the index fell")
		f.newest = next
	}
}

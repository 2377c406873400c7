package chord

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
)

// state watches until the index is another than after.
func state(ctx context.Context, w backend.Watcher, q backend.WatchQuery) (uint64, error) {
	for {
		index, err := w.Watch(ctx, q)
		if err != nil || index != q.After {
			return index, err
		}
	}
}

// TestWatchRounds: among random changes at all members no wake-up is lost, for
// those who always wait and for those who come back late.
func TestWatchRounds(t *testing.T) {
	t.Parallel()
	const (
		rounds = 10_000
		most   = 10 * time.Second
	)
	nodes := openRing(t, 3)
	ctx := within(t, 4*limit)
	rng := rand.New(rand.NewPCG(1, 2))
	all, err := state(ctx, nodes[0], backend.WatchQuery{Prefix: "r/"})
	require.NoError(t, err)
	key := all // of a key that is not there
	began, done, belated := time.Now(), 0, 0
	for ; done < rounds && time.Since(began) < most; done++ {
		name := fmt.Sprint("r/", rng.IntN(4))
		writer, reader := nodes[rng.IntN(3)], nodes[rng.IntN(3)]
		type told struct {
			key, all uint64
			err      error
		}
		woken := make(chan told, 1)
		look := func() {
			var is told
			if is.all, is.err = reader.Watch(ctx, backend.WatchQuery{Prefix: "r/", After: all}); is.err == nil && name == "r/0" {
				is.key, is.err = state(ctx, reader, backend.WatchQuery{Key: name, After: key})
			}
			woken <- is
		}
		early := rng.IntN(2) == 0
		if early {
			go look()
		}
		var index uint64
		if e, err := writer.Get(ctx, name, backend.GetOptions{}); err == nil && e != nil && rng.IntN(4) == 0 {
			require.NoError(t, writer.Delete(ctx, name, backend.DeleteOptions{}))
		} else {
			index, err = writer.Put(ctx, name, []byte{byte(done)}, backend.PutOptions{})
			require.NoError(t, err)
		}
		if !early {
			go look()
		}
		is := <-woken
		require.NoError(t, is.err, "round %d: a change of %q is lost", done, name)
		require.GreaterOrEqual(t, is.all, all)
		if is.all == all {
			belated++ // stamps of different keys have no order; who was late is told again
		}
		if all = is.all; name == "r/0" {
			key = is.key
		}
		if index > all {
			all, err = state(ctx, reader, backend.WatchQuery{Prefix: "r/", After: all})
			require.NoError(t, err, "round %d: a change of %q is lost", done, name)
			require.Equal(t, index, all)
		}
	}
	t.Logf("%d rounds in %v, %d changes below another", done, time.Since(began).Round(time.Millisecond), belated)
	require.Greater(t, done, rounds/20)
}

// TestWatchThroughChanges: watches see every change while a member dies and while
// the ring grows and shrinks, and go on at another member.
func TestWatchThroughChanges(t *testing.T) {
	t.Parallel()
	nodes := openRing(t, 3)
	ctx := within(t, 6*limit)
	indexes := map[backend.WatchQuery]uint64{{Key: "w/k"}: 0, {Prefix: "w/"}: 0, {}: 0}
	check := func(what string, writer *Node, watchers ...*Node) {
		t.Helper()
		for range 20 {
			var wg sync.WaitGroup
			for q, index := range indexes {
				q.After = index
				for _, n := range watchers {
					wg.Go(func() {
						got, err := n.Watch(ctx, q)
						if err != nil || got < index { // the index of another key may be above that of the change
							t.Errorf("%s: %s watches %+v: %d, %v", what, n.cfg.Name, q, got, err)
						}
					})
				}
			}
			index, err := writer.Put(ctx, "w/k", []byte(what), backend.PutOptions{})
			require.NoError(t, err, what)
			wg.Wait()
			for q := range indexes {
				indexes[q] = index
			}
		}
	}
	check("three members", nodes[0], nodes...)
	require.NoError(t, nodes[2].Close())
	check("one is dead", nodes[1], nodes[:2]...)
	check("watched elsewhere", nodes[1], nodes[0])
	require.NoError(t, func() error {
		_, err := nodes[0].Remove(ctx, backend.RemoveRequest{Names: []string{"m2"}})
		return err
	}())
	shaped(t, nodes[:2], "m0", "m1")
	nodes = append(nodes[:2], join(t, nodes[0], "m3", "m4", "m5")...)
	shaped(t, nodes, "m0", "m1", "m3", "m4", "m5")
	check("five members", nodes[3], nodes...)

	stop := make(chan struct{})
	var writing sync.WaitGroup
	var last uint64
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			index, err := nodes[1].Put(ctx, fmt.Sprint("w/", i%50), nil, backend.PutOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			last = max(last, index) // indexes of different keys have no order
		}
	})
	for _, n := range []*Node{nodes[3], nodes[4]} {
		require.NoError(t, n.Leave(ctx))
		require.NoError(t, n.Close())
	}
	close(stop)
	writing.Wait()
	nodes = nodes[:3]
	shaped(t, nodes, "m0", "m1", "m3")
	for _, n := range nodes {
		for after := uint64(0); after != last; {
			var err error
			before := after
			after, err = state(ctx, n, backend.WatchQuery{Prefix: "w/", After: after})
			require.NoError(t, err, "%s after index %d, the last is %d", n.cfg.Name, before, last)
		}
	}
	indexes = map[backend.WatchQuery]uint64{{Prefix: "w/"}: last, {}: last}
	check("three members again", nodes[2], nodes...)
}

// TestWatchForgotten: the index of what was deleted is that of the deletion, for
// Watch and List alike, until that is forgotten; then it is 1 or that of what
// is left.
func TestWatchForgotten(t *testing.T) {
	t.Parallel()
	nodes := openMembers(t, 3, 3, func(_ int, cfg *Config) { cfg.forgetAge = 100 * time.Millisecond })
	ctx := within(t, limit)
	put(t, nodes[0], "f/a", "v")
	left, err := state(ctx, nodes[1], backend.WatchQuery{Prefix: "f/"})
	require.NoError(t, err)
	put(t, nodes[0], "f/b", "v")
	put, err := state(ctx, nodes[1], backend.WatchQuery{Key: "f/b"})
	require.NoError(t, err)
	require.NoError(t, nodes[2].Delete(ctx, "f/b", backend.DeleteOptions{}))
	gone, err := state(ctx, nodes[1], backend.WatchQuery{Key: "f/b", After: put})
	require.NoError(t, err)
	if gone != 1 { // else it is forgotten already
		require.Greater(t, gone, put)
		gone, err = state(ctx, nodes[1], backend.WatchQuery{Key: "f/b", After: gone})
		require.NoError(t, err)
		require.EqualValues(t, 1, gone)
	}
	eventually(t, func() bool {
		index, err := nodes[1].Watch(ctx, backend.WatchQuery{Prefix: "f/"})
		require.NoError(t, err)
		page, err := nodes[1].List(ctx, backend.ListQuery{Prefix: "f/"})
		require.NoError(t, err)
		return index == left && page.Index == left
	}, "the index of the prefix is still that of the deletion")
}

// TestWatchAnew: who listed before anybody watched is told also of what the index
// does not show.
func TestWatchAnew(t *testing.T) {
	change := func(t *testing.T, change func(nodes []*Node, key string)) {
		// The first member owns a key, and is behind: so is the stamp of its change.
		var ahead atomic.Int64
		nodes := openMembers(t, 3, 3, func(i int, cfg *Config) {
			cfg.forgetAge = 100 * time.Millisecond
			if i > 0 {
				cfg.wall = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			}
		})
		for _, n := range nodes {
			waitReady(t, n)
		}
		var behind, others []string
		for _, k := range numbered("n/", 100) {
			if nodes[0].ring.Load().placement.Owners(k)[0].ID == nodes[0].ID() {
				behind = append(behind, k)
			} else {
				others = append(others, k)
			}
		}
		put(t, nodes[0], behind[0], "v")
		ahead.Store(int64(10 * time.Second))
		put(t, nodes[1], others[0], "v")
		page, err := nodes[2].List(within(t, limit), backend.ListQuery{Prefix: "n/"})
		require.NoError(t, err)
		ahead.Store(int64(time.Minute)) // so that nothing seems to be under way
		change(nodes, behind[0])
		index, err := nodes[2].Watch(within(t, 5*time.Second), backend.WatchQuery{Prefix: "n/", After: page.Index})
		require.NoError(t, err)
		require.Equal(t, page.Index, index, "the index shows the change")
	}
	t.Run("a lower stamp", func(t *testing.T) {
		change(t, func(nodes []*Node, key string) { put(t, nodes[0], key, "w") })
	})
	t.Run("a forgotten deletion", func(t *testing.T) {
		change(t, func(nodes []*Node, key string) {
			require.NoError(t, nodes[0].Delete(within(t, limit), key, backend.DeleteOptions{}))
			eventually(t, func() bool {
				_, there, err := nodes[2].store.Load(key)
				return err == nil && !there
			}, "it is not forgotten")
		})
	})
}

// TestManyWatches: idle watches cost little memory and no processor, even in the
// second in which they are told for nothing.
func TestManyWatches(t *testing.T) {
	const (
		watches   = 10_000
		mostBytes = 100 << 20
		pause     = time.Second
		mostBusy  = pause / 2
	)
	nodes := openRing(t, 1)
	n := nodes[0]
	before := inUse()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range watches {
		q := backend.WatchQuery{Key: fmt.Sprint("many/", i/2), After: 1}
		if i%2 == 1 {
			q = backend.WatchQuery{Prefix: fmt.Sprintf("many/%d/", i/2), After: 1}
		}
		wg.Go(func() {
			index, err := state(ctx, n, q)
			if backend.CodeOf(err) != backend.NoQuorum {
				t.Errorf("%+v: %d, %v", q, index, err)
			}
		})
	}
	eventually(t, func() bool {
		n.watching.mu.Lock()
		defer n.watching.mu.Unlock()
		for _, x := range n.watching.watched {
			if x.read == 0 || x.queued || x.busy {
				return false
			}
		}
		return n.watching.watches == watches
	}, "not all wait")
	used := inUse() - before
	t.Logf("%d watches take %d MiB", watches, used>>20)
	require.Less(t, used, int64(mostBytes))

	busy := processorTime()
	<-time.After(pause)
	busy = processorTime() - busy
	t.Logf("they and an idle member take %v of the processor in %v", busy, pause)
	require.Less(t, busy, mostBusy)
	cancel()
	wg.Wait()
	require.Zero(t, n.watching.watches)
}

// inUse returns the bytes of heap and stacks.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// processorTime returns what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestDoubt: all who wait are told for nothing after what the index can not show, at
// two moments; each call is while it must be expected.
func TestDoubt(t *testing.T) {
	now := time.Now()
	old := register.Timestamp(now.Add(-time.Minute))
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		name string
		x    watched
		wait time.Duration
	}{
		{"made just now", watched{index: 1, since: now}, watchAgain},
		{"a little later", watched{index: old, since: ago(watchAgain / 4)}, watchAgain * 3 / 4},
		{"once told", watched{index: old, since: ago(watchAgain)}, watchBelated - watchAgain},
		{"much later", watched{index: old, since: ago(watchBelated - 1)}, 1},
		{"told twice", watched{index: old, since: ago(watchBelated)}, 0},
		{"young", watched{index: register.Timestamp(ago(watchUnderway / 2)), since: ago(time.Hour)}, watchAgain},
		{"one was met", watched{index: old, since: ago(time.Hour), met: ago(watchBelated - 1)}, watchAgain},
		{"one was met long ago", watched{index: old, since: ago(time.Hour), met: ago(watchBelated)}, 0},
		{"not known yet", watched{}, 0},
	} {
		c.x.prefix = true
		require.Equal(t, c.wait, c.x.doubt(now, now), c.name)
		c.x.prefix = false
		require.Zero(t, c.x.doubt(now, now), "a key; %s", c.name)
	}
}

// TestWatchBelated: who waits is told of a change with a lower stamp at once, who
// comes later soon.
func TestWatchBelated(t *testing.T) {
	n := openRing(t, 1)[0]
	ctx := within(t, limit)
	put(t, n, "b/1", "v")
	index, err := state(ctx, n, backend.WatchQuery{Prefix: "b/"})
	require.NoError(t, err)
	q := backend.WatchQuery{Prefix: "b/", After: index}
	x := n.watching.watched[watchName{"b/", true}]
	meet := func() {
		n.watching.mu.Lock()
		defer n.watching.mu.Unlock()
		x.take(&reading{index: 5, stamp: map[uint64]uint64{rand.Uint64(): 5}})
		close(x.moved)
		x.moved = make(chan struct{})
	}
	told := make(chan uint64, 1)
	go func() {
		got, _ := n.Watch(ctx, q)
		told <- got
	}()
	eventually(t, func() bool {
		n.watching.mu.Lock()
		defer n.watching.mu.Unlock()
		return x.watchers == 1
	}, "it does not wait")
	meet()
	require.Equal(t, index, <-told)
	got, err := n.Watch(ctx, q)
	require.NoError(t, err)
	require.Equal(t, index, got)
}

package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

// maxGap is how long the writes of surviving members may stop.
const maxGap = time.Second

// TestKillOne kills one of five: the others go on, with hardly a gap.
func TestKillOne(t *testing.T) {
	r := startRing(t)
	l := r.work()
	killed := l.Now()
	r.must(r.Members[1].Kill())
	l.Run(5 * time.Second)
	back := l.Now()
	r.must(r.Members[1].Restart(r.ctx))
	l.Run(time.Second)
	report := l.Stop()
	others := append([]*cluster.Member{r.Members[0]}, r.Members[2:]...)
	r.requireGap(report, maxGap, killed, back, others...)
	r.judge(report)
}

// TestKillTwo kills two of five, which is all that five owners can miss, and
// restarts them: they come back, and answer with what they missed.
func TestKillTwo(t *testing.T) {
	r := startRing(t)
	l := r.work()
	killed := l.Now()
	r.must(r.Members[0].Kill())
	r.must(r.Members[3].Kill())
	l.Run(4 * time.Second)
	back := l.Now()
	survivors := []*cluster.Member{r.Members[1], r.Members[2], r.Members[4]}

	const keys = 50
	api := r.targets(survivors...)[0].Backend
	for i := range keys {
		_, err := api.Put(r.ctx, fmt.Sprintf("missed/%d", i), []byte("two were down"), backend.PutOptions{})
		r.must(err)
	}
	require.Len(t, r.holders("missed/0"), 3, "three members are up")

	r.must(r.Members[0].Restart(r.ctx))
	r.must(r.Members[3].Restart(r.ctx))
	l.Run(time.Second)
	report := l.Stop()
	r.requireGap(report, maxGap, killed, back, survivors...)
	r.judge(report)

	// Read there, nothing of what they missed is missing.
	for _, target := range r.targets(r.Members[0], r.Members[3]) {
		for i := range keys {
			key := fmt.Sprintf("missed/%d", i)
			e, err := target.Backend.Get(r.ctx, key, backend.GetOptions{})
			r.must(err)
			require.NotNil(t, e, key)
			require.Equal(t, "two were down", string(e.Value))
		}
	}
	t.Logf("after the reads %v hold the newest copy of one of the keys", r.holders("missed/0"))

	// A change of a key reaches all of its owners.
	api = r.targets(r.Members[0])[0].Backend
	for i := range keys {
		key := fmt.Sprintf("missed/%d", i)
		_, err := api.Put(r.ctx, key, []byte("all are back"), backend.PutOptions{})
		r.must(err)
		r.must(cluster.Wait(r.ctx, "all owners of "+key, func(context.Context) error {
			if have := r.holders(key); len(have) != len(r.Members) {
				return fmt.Errorf("only %v have it", have)
			}
			return nil
		}))
	}
}

// holders returns which owners hold the newest copy of a key, as the third
// member sees it.
func (r *ring) holders(key string) []string {
	r.t.Helper()
	where, err := r.Members[2].Locate(r.ctx, key)
	r.must(err)
	newest := uint64(0)
	for _, o := range where.Owners {
		newest = max(newest, o.Index)
	}
	var names []string
	for _, o := range where.Owners {
		if o.Live && o.Index == newest {
			names = append(names, o.Name)
		}
	}
	return names
}

// TestKillAll kills every member at once, under load, and starts them again:
// nothing that was acknowledged is lost.
func TestKillAll(t *testing.T) {
	r := startRing(t)
	l := r.work()
	for round := range 2 {
		for _, m := range r.Members {
			r.must(m.Kill())
		}
		begun := time.Now()
		r.must(r.Start(r.ctx))
		t.Logf("round %d: all serve again after %d ms", round+1, time.Since(begun).Milliseconds())
		l.Run(time.Second)
	}
	report := l.Stop()
	r.judge(report)
}

// TestRestartOften kills and restarts one member twenty times in a row, within a minute. Each time it
// must come back and serve, and must not be taken for its own rival.
func TestRestartOften(t *testing.T) {
	r := startRing(t)
	l := r.work()
	begun, m := l.Now(), r.Members[2]
	for i := range 20 {
		if i%2 == 0 {
			r.must(m.Kill())
		} else {
			r.must(m.Stop())
		}
		r.must(m.Restart(r.ctx))
	}
	ended := l.Now()
	t.Logf("twenty restarts in %d ms", (ended - begun).Milliseconds())
	l.Run(500 * time.Millisecond)
	report := l.Stop()
	r.requireGap(report, maxGap, begun, ended, r.Members[0], r.Members[1], r.Members[3], r.Members[4])
	r.judge(report)
}

// TestNoQuorum takes three of five away: nothing is answered, in time and with
// the number of owners that did answer. When they are back, everything goes on
// by itself, an operation that waits included.
func TestNoQuorum(t *testing.T) {
	r := startRing(t)
	target := r.targets(r.Members[0])[0].Backend
	index, err := target.Put(r.ctx, "k", []byte("before"), backend.PutOptions{})
	r.must(err)
	down := r.Members[2:]
	for _, m := range down {
		r.must(m.Kill())
	}

	const patience = 2 * time.Second
	call := func(what string, f func(context.Context) error) *backend.Error {
		ctx, cancel := context.WithTimeout(r.ctx, patience)
		defer cancel()
		begun := time.Now()
		err := f(ctx)
		took := time.Since(begun)
		e := new(backend.Error)
		require.ErrorAs(t, err, &e, what)
		t.Logf("%s: after %d ms: %v", what, took.Milliseconds(), err)
		require.Less(t, took, patience+500*time.Millisecond, what)
		require.Greater(t, took, patience/2, "%s: it should have waited", what)
		return e
	}
	e := call("get", func(ctx context.Context) error {
		_, err := target.Get(ctx, "k", backend.GetOptions{})
		return err
	})
	require.Equal(t, backend.NoQuorum, e.Code)
	require.Equal(t, []int{2, 5}, []int{e.Answered, e.Owners})
	put := call("put of a new key", func(ctx context.Context) error {
		_, err := target.Put(ctx, "new", []byte("x"), backend.PutOptions{})
		return err
	})
	// Unknown when it was handed to another owner, who may still do it.
	require.Contains(t, []backend.Code{backend.NoQuorum, backend.UnknownOutcome}, put.Code)
	require.Less(t, put.Answered, 3)
	e = call("conditional put", func(ctx context.Context) error {
		_, err := target.Put(ctx, "k", []byte("x"), backend.PutOptions{If: backend.IfIndex(index)})
		return err
	})
	require.Contains(t, []backend.Code{backend.NoQuorum, backend.UnknownOutcome}, e.Code)
	require.Less(t, e.Answered, 3)
	e = call("list", func(ctx context.Context) error {
		_, err := target.List(ctx, backend.ListQuery{})
		return err
	})
	require.Equal(t, backend.NoQuorum, e.Code)

	stale, err := target.Get(r.ctx, "k", backend.GetOptions{Stale: true})
	r.must(err)
	require.Equal(t, "before", string(stale.Value), "a stale read needs one owner")

	// An operation with more patience waits, and ends well when they return.
	waiting := make(chan error, 1)
	go func() {
		_, err := target.Put(r.ctx, "waits", []byte("and is done"), backend.PutOptions{})
		waiting <- err
	}()
	for _, m := range down {
		r.must(m.Start())
	}
	begun := time.Now()
	r.must(r.WaitAlive(r.ctx))
	select {
	case err := <-waiting:
		r.must(err)
	case <-time.After(10 * time.Second):
		t.Fatal("the operation that waited did not go on")
	}
	t.Logf("goes on %d ms after the start of the three", time.Since(begun).Milliseconds())
	for _, target := range r.targets() {
		e, err := target.Backend.Get(r.ctx, "waits", backend.GetOptions{})
		r.must(err)
		require.Equal(t, "and is done", string(e.Value))
	}
	late, err := target.Get(r.ctx, "new", backend.GetOptions{})
	r.must(err)
	if late != nil && put.Code == backend.NoQuorum {
		t.Error("a put that ended with NoQuorum, which says that nothing happened, has happened")
	}
}

// TestWipedMember loses the data of a member: it comes back under its name as a
// new member, and has everything.
func TestWipedMember(t *testing.T) {
	t.Parallel()
	r := startRing(t)
	keys := r.fill(50, 100)
	m := r.Members[4]
	before := r.idOf(m)
	r.must(m.Kill())
	r.must(m.Wipe())
	r.must(m.Restart(r.ctx))
	r.final(r.Members...)
	require.NotEqual(t, before, r.idOf(m), "it goes on as the one that it was")
	for _, key := range keys {
		require.Len(t, r.holders(key), len(r.Members), key)
	}
	r.verify()
}

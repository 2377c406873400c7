package chord

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/store"
)

// hand is a clock of lifetimes that a test moves.
type hand struct{ at atomic.Int64 }

func (h *hand) now() time.Duration      { return time.Duration(h.at.Load()) }
func (h *hand) advance(d time.Duration) { h.at.Add(int64(d)) }

// until moves the clock ahead in steps until cond holds.
func (h *hand) until(t testing.TB, cond func() bool, what string, args ...any) {
	t.Helper()
	eventually(t, func() bool {
		if cond() {
			return true
		}
		h.advance(100 * time.Millisecond)
		return false
	}, what, args...)
}

// openTimed founds a ring of members whose lifetimes go by one clock.
func openTimed(t testing.TB, n int, change func(i int, cfg *Config)) ([]*Node, *hand) {
	t.Helper()
	clock := &hand{}
	nodes := openMembers(t, n, n, func(i int, cfg *Config) {
		cfg.lifetimes = clock.now
		if change != nil {
			change(i, cfg)
		}
	})
	for _, n := range nodes {
		waitReady(t, n)
	}
	return nodes, clock
}

func newSession(t testing.TB, n *Node, opts backend.SessionOptions) string {
	t.Helper()
	s, err := n.CreateSession(within(t, limit), opts)
	require.NoError(t, err)
	return s.ID
}

func lives(t testing.TB, n *Node, id string) bool {
	t.Helper()
	s, err := n.Session(within(t, limit), id)
	require.NoError(t, err)
	return s != nil
}

// holdKeys makes a session the holder of keys.
func holdKeys(t testing.TB, n *Node, id string, keys []string) {
	t.Helper()
	ctx := within(t, 3*limit)
	const most = 100
	require.NoError(t, eachOf((len(keys)+most-1)/most, func(i int) error {
		var ops []backend.TxnOp
		for _, key := range keys[i*most : min((i+1)*most, len(keys))] {
			ops = append(ops, backend.TxnOp{Verb: backend.VerbLock, Key: key, Value: []byte(key), Session: id})
		}
		_, err := n.Txn(ctx, ops)
		return err
	}))
}

// holder returns who holds a key, going by what a member has of it.
func holder(t testing.TB, n *Node, key string) string {
	t.Helper()
	cell, _, err := n.store.Load(key)
	require.NoError(t, err)
	now, then := cell.Value.Names()
	return now + then
}

// released reports whether no member says that a session holds anything.
func released(t testing.TB, nodes []*Node, id string) bool {
	t.Helper()
	for _, n := range nodes {
		page, err := n.store.Held(within(t, limit), store.HeldOptions{Session: id})
		require.NoError(t, err)
		if len(page.Held) > 0 {
			return false
		}
	}
	return true
}

// seen reports whether the lifetime of a session runs at all members.
func seen(nodes []*Node, id string) bool {
	return !slices.ContainsFunc(nodes, func(n *Node) bool {
		n.expirer.mu.Lock()
		defer n.expirer.mu.Unlock()
		_, here := n.expirer.here[register.SessionKey(id)]
		return !here
	})
}

// TestRenewedTooLate lets renewals meet the end of the TTL: each either comes before
// it, and the session lives, or the session has ended for good.
func TestRenewedTooLate(t *testing.T) {
	t.Parallel()
	nodes, clock := openTimed(t, 3, nil)
	renewed, late, looks := 0, 0, 64
	for round := range 24 {
		id := newSession(t, nodes[0], backend.SessionOptions{TTL: backend.MinTTL})
		eventually(t, func() bool { return seen(nodes, id) }, "the owners do not know it")
		clock.advance(backend.MinTTL - time.Millisecond)
		require.True(t, lives(t, nodes[1], id), "it ended before its TTL was over")
		clock.advance(backend.MinTTL) // now it ends when an owner looks
		for range looks {             // the longer the last one came in time
			lives(t, nodes[round%3], id)
		}
		_, err := nodes[(round+1)%3].RenewSession(within(t, limit), id)
		if err == nil {
			renewed++
			looks *= 2
			require.True(t, lives(t, nodes[2], id), "it was renewed, and no time has passed since")
			clock.until(t, func() bool { return !lives(t, nodes[2], id) }, "it does not end")
		} else {
			late++
			looks = (looks + 3) / 4
		}
		for _, n := range nodes {
			_, err = n.RenewSession(within(t, limit), id)
			require.Equal(t, backend.SessionInvalid, backend.CodeOf(err), "%v", err)
			require.False(t, lives(t, n, id))
		}
	}
	require.Positive(t, renewed)
	require.Positive(t, late)
	t.Logf("%d renewed in time, %d late", renewed, late)
}

// TestFirstOwnerGone: where the first owner of a session is down, another ends it,
// releases what it held, and wakes who watches that.
func TestFirstOwnerGone(t *testing.T) {
	nodes, clock := openTimed(t, 5, nil)
	id := newSession(t, nodes[0], backend.SessionOptions{TTL: backend.MinTTL, LockDelay: backend.NoLockDelay})
	keys := numbered("held/", 20)
	holdKeys(t, nodes[1], id, keys)
	first := nodes[0].ring.Load().placement.Owners(register.SessionKey(id))[0].ID
	var left []*Node
	for _, n := range nodes {
		if n.ID() == first {
			require.NoError(t, n.Close())
		} else {
			left = append(left, n)
		}
	}
	index, err := left[0].Watch(within(t, limit), backend.WatchQuery{Key: keys[7]})
	require.NoError(t, err)
	woken := make(chan error, 1)
	go func() {
		_, err := left[0].Watch(within(t, 2*limit), backend.WatchQuery{Key: keys[7], After: index})
		woken <- err
	}()
	clock.until(t, func() bool { return !lives(t, left[1], id) }, "nobody ends it")
	require.NoError(t, <-woken)
	eventually(t, func() bool { return released(t, left, id) }, "its keys are not released")
	for _, key := range keys {
		e, err := left[2].Get(within(t, limit), key, backend.GetOptions{})
		require.NoError(t, err)
		require.Empty(t, e.Session)
		require.Equal(t, key, string(e.Value))
	}
}

// TestLifetimesBesideSick: what can not be ended, because too few owners are there,
// does not hold up what can.
func TestLifetimesBesideSick(t *testing.T) {
	t.Parallel()
	nodes, clock := openTimed(t, 3, func(_ int, cfg *Config) { cfg.Replicas = 2 })
	ctx := within(t, limit)
	keys := numbered("short/", 6*maxExpiring)
	require.NoError(t, eachOf(len(keys), func(i int) error {
		_, err := nodes[i%3].Put(ctx, keys[i], []byte("v"), backend.PutOptions{ExpiresAfter: backend.MinTTL})
		return err
	}))
	require.NoError(t, nodes[2].Close())
	st := nodes[0].ring.Load()
	healthy := slices.DeleteFunc(slices.Clone(keys), func(key string) bool {
		g := st.placement.Group(key)
		return g.Index(nodes[2].id.Node()) >= 0
	})
	require.Greater(t, len(keys)-len(healthy), 3*maxExpiring)
	require.NotEmpty(t, healthy)
	clock.until(t, func() bool {
		for _, key := range healthy {
			cell, _, err := nodes[0].store.Load(key)
			if require.NoError(t, err); cell.Value.Live {
				return false
			}
		}
		return true
	}, "they do not end")
}

// TestLifetimesWithSkewedClocks: what the members' clocks say of the time of the
// day, minutes apart, ends nothing too soon, and keeps nothing alive.
func TestLifetimesWithSkewedClocks(t *testing.T) {
	t.Parallel()
	nodes, clock := openTimed(t, 3, func(i int, cfg *Config) {
		cfg.wall = func() time.Time { return time.Now().Add(time.Duration(i-1) * 4 * time.Minute) }
	})
	for i, n := range nodes {
		soon := newSession(t, n, backend.SessionOptions{TTL: backend.MinTTL})
		late := newSession(t, n, backend.SessionOptions{TTL: 10 * backend.MinTTL})
		ctx := within(t, limit)
		for key, lasts := range map[string]time.Duration{"soon": backend.MinTTL, "late": 10 * backend.MinTTL} {
			_, err := n.Put(ctx, key, []byte("v"), backend.PutOptions{ExpiresAfter: lasts})
			require.NoError(t, err)
		}
		other := nodes[(i+1)%3]
		clock.until(t, func() bool { return !lives(t, other, soon) && get(t, other, "soon") == "" }, "what was to end soon does not")
		for _, m := range nodes {
			require.True(t, lives(t, m, late))
			require.Equal(t, "v", get(t, m, "late"))
		}
		clock.advance(10 * backend.MinTTL)
		clock.until(t, func() bool { return !lives(t, other, late) && get(t, other, "late") == "" }, "what was to end late does not")
	}
}

// TestLifetimeAfterRestart: a member that starts anew ends what it finds.
func TestLifetimeAfterRestart(t *testing.T) {
	clock := &hand{}
	cfg := Config{Name: "m", DataDir: t.TempDir(), Expect: 1, lifetimes: clock.now}
	n := openNode(t, cfg)
	waitReady(t, n)
	id := newSession(t, n, backend.SessionOptions{TTL: backend.MinTTL, Behavior: backend.BehaviorDelete, LockDelay: backend.NoLockDelay})
	holdKeys(t, n, id, []string{"held"})
	_, err := n.Put(within(t, limit), "short", []byte("v"), backend.PutOptions{ExpiresAfter: backend.MinTTL})
	require.NoError(t, err)
	require.NoError(t, n.Close())
	n = openNode(t, cfg)
	waitReady(t, n)
	require.Equal(t, "v", get(t, n, "short"))
	require.True(t, lives(t, n, id))
	clock.until(t, func() bool { return get(t, n, "short") == "" && !lives(t, n, id) }, "it does not end")
	require.Empty(t, get(t, n, "held"))
}

// TestSweep: what a session held is released although nobody looks at it; also where
// who ended the session did not come to that.
func TestSweep(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, n *Node, id string){
		"by who destroyed it": func(t *testing.T, n *Node, id string) {
			require.NoError(t, n.DestroySession(within(t, limit), id))
		},
		"by an owner": func(t *testing.T, n *Node, id string) {
			_, err := registers{n, within(t, limit)}.Change(register.SessionKey(id), register.Change{Kind: register.End})
			require.NoError(t, err)
		},
		"by the patrol": func(t *testing.T, n *Node, id string) {
			_, err := registers{n, within(t, limit)}.Change(register.SessionKey(id), register.Change{Kind: register.Delete})
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			nodes, clock := openTimed(t, 3, nil)
			id := newSession(t, nodes[0], backend.SessionOptions{LockDelay: time.Second})
			remove := newSession(t, nodes[0], backend.SessionOptions{LockDelay: time.Second, Behavior: backend.BehaviorDelete})
			keep := newSession(t, nodes[0], backend.SessionOptions{})
			keys := numbered("held/", 300)
			holdKeys(t, nodes[1], id, keys[:100])
			holdKeys(t, nodes[1], remove, keys[100:200])
			holdKeys(t, nodes[1], keep, keys[200:])
			end(t, nodes[2], id)
			end(t, nodes[2], remove)
			clock.until(t, func() bool { return released(t, nodes, id) && released(t, nodes, remove) }, "the keys are not released")
			require.Equal(t, append(keys[:100:100], keys[200:]...), names(t, nodes[0], backend.ListQuery{Prefix: "held/"}))
			require.Equal(t, keep, holder(t, nodes[0], keys[200]))
		})
	}
}

// TestManySessions: a member takes in so many, and no more.
func TestManySessions(t *testing.T) {
	t.Parallel()
	nodes, clock := openTimed(t, 3, func(_ int, cfg *Config) { cfg.maxSessions, cfg.forgetAge = 5, time.Second })
	client := openNode(t, Config{Name: "client", Role: RoleClient, Seeds: []string{nodes[0].GossipAddr()}, maxSessions: 5})
	waitReady(t, client)
	var ids []string
	for range 5 {
		ids = append(ids, newSession(t, nodes[0], backend.SessionOptions{LockDelay: backend.NoLockDelay}))
	}
	for _, n := range []*Node{nodes[0], nodes[2], client} {
		var err error
		eventually(t, func() bool { // it is told what became durable
			_, err = n.CreateSession(within(t, limit), backend.SessionOptions{})
			return err != nil
		}, "a session too many")
		require.Equal(t, backend.TooLarge, backend.CodeOf(err), "%v", err)
		require.ErrorContains(t, err, "too many sessions")
	}
	all, err := client.Sessions(within(t, limit))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(all), 5)
	eventually(t, func() bool { return nodes[1].expirer.sessions() == len(all) }, "it is not told of all")
	for _, s := range all {
		require.NoError(t, client.DestroySession(within(t, limit), s.ID))
	}
	clock.until(t, func() bool { return nodes[1].expirer.sessions() == 0 }, "they are still there")
	eventually(t, func() bool { // the others may still count some
		_, err := nodes[1].CreateSession(within(t, limit), backend.SessionOptions{})
		return err == nil
	}, "there is no room")
	require.False(t, lives(t, client, ids[0]))

	// And nothing of those that ended is left.
	eventually(t, func() bool {
		for _, n := range nodes {
			page, err := n.store.Scan(within(t, limit), store.ScanOptions{Prefix: register.SessionPrefix})
			require.NoError(t, err)
			if len(page.Cells) != 1 {
				return false
			}
		}
		return true
	}, "tombstones of sessions are kept")
	require.Empty(t, names(t, nodes[0], backend.ListQuery{}), "hosts see what is not for them")
}

// TestWaiterWhoseSessionEnds: a Lock that waits with a session that expires gives up.
func TestWaiterWhoseSessionEnds(t *testing.T) {
	t.Parallel()
	nodes, clock := openTimed(t, 3, nil)
	holdKeys(t, nodes[0], newSession(t, nodes[0], backend.SessionOptions{}), []string{"k"})
	locker := keep(nodes[1])
	id := newSession(t, nodes[2], backend.SessionOptions{TTL: backend.MinTTL})
	failed := make(chan error, 1)
	go func() {
		_, err := locker.Lock(within(t, 2*limit), backend.LockOptions{Key: "k", Session: id})
		failed <- err
	}()
	clock.until(t, func() bool { return len(failed) == 1 }, "it waits on")
	err := <-failed
	require.Equal(t, backend.SessionInvalid, backend.CodeOf(err), "%v", err)
	require.NoError(t, locker.Close())
}

// TestLocksWhileTheRingGrows hands locks on while the ring goes from three members
// to six; no two holders count at a time, and none counts in vain. A session that
// held keys before is swept after.
func TestLocksWhileTheRingGrows(t *testing.T) {
	t.Parallel()
	nodes, _ := openTimed(t, 3, nil)
	old := newSession(t, nodes[0], backend.SessionOptions{LockDelay: backend.NoLockDelay})
	keys := numbered("old/", 100)
	holdKeys(t, nodes[0], old, keys)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const locks, workers = 3, 6
	var inside [locks]atomic.Int32
	var counted [locks]atomic.Int64
	var wg sync.WaitGroup
	work := func(w int, i *Instance) error {
		for round := w; ctx.Err() == nil; round++ {
			at := round % locks
			key, counter := fmt.Sprintf("lock/%d", at), fmt.Sprintf("count/%d", at)
			l, err := i.Lock(within(t, 3*limit), backend.LockOptions{Key: key, Value: []byte(fmt.Sprint(w))})
			if err != nil {
				return fmt.Errorf("lock: %w", err)
			}
			if inside[at].Add(1) != 1 {
				return fmt.Errorf("%s has two holders", key)
			}
			e, err := i.Get(within(t, limit), counter, backend.GetOptions{})
			if err != nil {
				return err
			}
			n := 1
			if e != nil {
				if _, err := fmt.Sscan(string(e.Value), &n); err != nil {
					return err
				}
				n++
			}
			if _, err = i.Put(within(t, limit), counter, []byte(fmt.Sprint(n)), backend.PutOptions{}); err != nil {
				return err
			}
			counted[at].Add(1)
			inside[at].Add(-1)
			if err := l.Unlock(within(t, limit)); err != nil {
				return fmt.Errorf("unlock: %w", err)
			}
		}
		return nil
	}
	var instances []*Instance
	for w := range workers {
		i := keep(nodes[w%3])
		instances = append(instances, i)
		wg.Go(func() {
			if err := work(w, i); err != nil {
				t.Error(err)
				stop()
			}
		})
	}
	more := join(t, nodes[0], "x", "y", "z")
	nodes = append(nodes, more...)
	shaped(t, nodes, "m0", "m1", "m2", "x", "y", "z")
	last := counted[0].Load()
	eventually(t, func() bool { return ctx.Err() != nil || counted[0].Load() > last+2 }, "the lock is not handed on")
	stop()
	wg.Wait()
	for at := range locks {
		require.Equal(t, fmt.Sprint(counted[at].Load()), get(t, more[0], fmt.Sprintf("count/%d", at)))
	}
	require.NoError(t, more[1].DestroySession(within(t, limit), old))
	eventually(t, func() bool { return released(t, nodes, old) }, "what was held before is not released")
	for _, i := range instances {
		i.keeper.Close()
	}
}

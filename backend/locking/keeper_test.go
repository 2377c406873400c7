package locking

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

const ttl = backend.MinTTL

// last is when a lock whose session was renewed at 0 is given up.
const last = ttl - ttl/drift

var quick = backend.SessionOptions{TTL: ttl, LockDelay: backend.NoLockDelay}

func TestLostWhenRenewalsFail(t *testing.T) {
	for name, h := range map[string]hook{
		"no quorum": fails(backend.NoQuorum),
		"not ready": fails(backend.NotReady),
		"unknown":   forgets(backend.UnknownOutcome),
		"no answer": func(ctx context.Context) (func() error, error) { <-ctx.Done(); return nil, fault(backend.NoQuorum) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(f *fixture) {
				l := f.lock(backend.LockOptions{Key: "k", Own: quick})
				f.pass(ttl / 3) // is renewed
				require.Equal(t, 1, f.store.count("RenewSession"))
				f.store.on("RenewSession", h)
				f.store.on("DestroySession", fails(backend.NoQuorum))
				f.pass(last - 1)
				require.False(t, isLost(l))
				if name != "unknown" {
					require.Equal(t, l.Session(), f.get("k").Session)
				}
				f.pass(1)
				require.True(t, isLost(l), "not within the TTL from when the last renewal was sent")
				require.Greater(t, f.store.count("RenewSession"), 2)
				f.lost(l)
				f.store.on("DestroySession", nil)
				f.pass(lastPause)
				f.none()
			})
		})
	}
}

func TestNotLostWhenRenewalsFailForAWhile(t *testing.T) {
	inBubble(t, func(f *fixture) {
		l := f.lock(backend.LockOptions{Key: "k", Own: quick})
		for range 5 {
			f.store.on("RenewSession", fails(backend.NoQuorum))
			f.pass(ttl / 2)
			f.store.on("RenewSession", nil)
			f.pass(ttl)
			require.False(t, isLost(l))
		}
		require.NoError(t, l.Unlock(f.ctx))
		f.none()
	})
}

// The TTL counts from when the renewal was sent, not from when it was answered.
func TestLostCountsFromWhenARenewalWasSent(t *testing.T) {
	for _, own := range []bool{true, false} {
		inBubble(t, func(f *fixture) {
			opts := backend.LockOptions{Key: "k", Own: quick}
			if !own {
				opts = backend.LockOptions{Key: "k", Session: f.session(quick)}
			}
			slow := func(context.Context) (func() error, error) {
				return func() error { <-time.After(2 * time.Second); return nil }, nil
			}
			f.store.on("CreateSession", slow)
			f.store.on("RenewSession", slow)
			start := time.Now()
			l := f.lock(opts)
			require.Equal(t, 2*time.Second, time.Since(start))
			_, err := f.keeper.RenewSession(f.ctx, l.Session())
			require.NoError(t, err)
			require.Equal(t, 4*time.Second, time.Since(start))
			f.store.on("RenewSession", fails(backend.NoQuorum))
			f.pass(last - 2*time.Second - 1)
			require.False(t, isLost(l))
			f.pass(1)
			require.True(t, isLost(l))
		})
	}
}

func TestRenewalsThroughTheKeeperCount(t *testing.T) {
	inBubble(t, func(f *fixture) {
		id := f.session(quick)
		a, b := f.lock(backend.LockOptions{Key: "a", Session: id}), f.lock(backend.LockOptions{Key: "b", Session: id})
		for range 4 {
			f.pass(ttl * 3 / 4)
			_, err := f.keeper.RenewSession(f.ctx, id)
			require.NoError(t, err)
		}
		f.pass(last - 1)
		require.False(t, isLost(a))
		f.pass(1)
		f.lost(a)
		f.lost(b)
		_, err := f.keeper.RenewSession(f.ctx, id) // it has not ended yet
		require.NoError(t, err)
		f.lost(a)
		again := f.lock(backend.LockOptions{Key: "a", Session: id})
		require.Equal(t, a.Token(), again.Token())
		f.pass(ttl)
		f.lost(again)
		f.none()
		_, err = f.keeper.RenewSession(f.ctx, id)
		require.ErrorIs(t, err, backend.ErrSessionInvalid)
	})
}

func TestSessionWithoutTTL(t *testing.T) {
	inBubble(t, func(f *fixture) {
		l := f.lock(backend.LockOptions{Key: "k", Session: f.session(backend.SessionOptions{})})
		f.pass(backend.MaxTTL)
		require.False(t, isLost(l))
		require.NoError(t, f.keeper.DestroySession(f.ctx, l.Session()))
		require.True(t, isLost(l), "by then whoever destroyed it knows")
	})
}

func TestDestroyingInDoubtLosesTheLock(t *testing.T) {
	for _, h := range outcomes {
		inBubble(t, func(f *fixture) {
			l := f.lock(backend.LockOptions{Key: "k", Session: f.session(backend.SessionOptions{})})
			f.store.on("DestroySession", h)
			require.ErrorIs(t, f.keeper.DestroySession(f.ctx, l.Session()), backend.ErrUnknownOutcome)
			f.lost(l)
		})
	}
}

// While a session is being destroyed, it may have ended.
func TestLostBeforeTheSessionIsDestroyed(t *testing.T) {
	for _, own := range []bool{true, false} {
		inBubble(t, func(f *fixture) {
			opts := backend.LockOptions{Key: "k", Own: quick}
			if !own {
				opts = backend.LockOptions{Key: "k", Session: f.session(backend.SessionOptions{LockDelay: backend.NoLockDelay})}
			}
			l := f.lock(opts)
			f.store.on("Watch", fails(backend.NotReady)) // no news
			f.store.on("DestroySession", times(1, func(context.Context) (func() error, error) {
				return func() error {
					_, err := f.mem.Lock(f.ctx, backend.LockOptions{Key: "k", Own: quick})
					require.NoError(t, err)
					require.True(t, isLost(l), "another holds the lock before Lost is closed")
					return nil
				}, nil
			}))
			require.NoError(t, f.keeper.DestroySession(f.ctx, l.Session()))
			f.lost(l)
		})
	}
}

// One call learns that the session has ended, and with it all that know the session.
func TestWhatOneCallLearnsOfASession(t *testing.T) {
	for name, learn := range map[string]func(f *fixture, id string) error{
		"a call of Lock that begins": func(f *fixture, id string) error {
			require.NoError(f, f.mem.DestroySession(f.ctx, id))
			_, err := f.keeper.Lock(f.ctx, backend.LockOptions{Key: "other", Session: id})
			return err
		},
		"a call of Lock that goes on": func(f *fixture, id string) error {
			f.store.on("Txn", times(1, func(ctx context.Context) (func() error, error) {
				return nil, f.mem.DestroySession(ctx, id)
			}))
			_, err := f.keeper.Lock(f.ctx, backend.LockOptions{Key: "other", Session: id})
			return err
		},
		"a renewal": func(f *fixture, id string) error {
			require.NoError(f, f.mem.DestroySession(f.ctx, id))
			_, err := f.keeper.RenewSession(f.ctx, id)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(f *fixture) {
				f.store.on("Watch", func(ctx context.Context) (func() error, error) { <-ctx.Done(); return nil, fault(backend.NoQuorum) })
				id := f.session(backend.SessionOptions{})
				l := f.lock(backend.LockOptions{Key: "k", Session: id})
				require.ErrorIs(t, learn(f, id), backend.ErrSessionInvalid)
				require.True(t, isLost(l), "it is known that the session has ended")
			})
		})
	}
}

// A lateClock has alarms that ring when the test says so and that can not be stopped
// once rung is set.
type lateClock struct {
	memory.ManualClock
	rung   bool
	alarms []func()
	set    int
}

func (c *lateClock) AfterFunc(_ time.Duration, f func()) func() bool {
	c.alarms = append(c.alarms, f)
	c.set++
	late := c.rung
	return func() bool {
		if c.rung && !late {
			return false
		}
		c.set--
		return true
	}
}

// An alarm and an answer to a renewal come when the session has just ended. Neither
// leaves an alarm that nobody stops: Close would wait for it as long as the TTL.
func TestLateNewsOfASessionThatEnded(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	defer store.Close()
	made, err := store.CreateSession(t.Context(), backend.SessionOptions{TTL: time.Hour})
	require.NoError(t, err)
	var clock lateClock
	k := New(store, &clock)
	require.NoError(t, k.enter("k"))
	s, err := k.begin(t.Context(), backend.LockOptions{Key: "k", Session: made.ID})
	require.NoError(t, err)
	require.Equal(t, 1, clock.set)

	clock.rung = true // and waits for mu
	k.mu.Lock()
	k.over(s)
	k.extend(s, k.clock.Now())
	k.mu.Unlock()
	clock.alarms[0]()
	k.mu.Lock()
	k.leave(s, false)
	k.mu.Unlock()
	require.Equal(t, 1, clock.set, "an alarm is left besides the one that rang")
	k.Close()
}

func TestLostBeforeAnotherHolds(t *testing.T) {
	for range 20 { // synctest wakes those that are due at the same time in any order
		inBubble(t, func(f *fixture) {
			l := f.lock(backend.LockOptions{Key: "k", Session: f.session(quick)})
			waiting := f.locks(f.ctx, backend.LockOptions{Key: "k", Own: quick})
			next := <-waiting
			require.NoError(t, next.err)
			require.True(t, isLost(l))
			require.Greater(t, next.lock.Token(), l.Token())
			require.NoError(t, next.lock.Unlock(f.ctx))
		})
	}
}

// A frozen clock is that of a process that was stopped: time goes by and no alarm
// rings.
type frozenClock struct{ memory.ManualClock }

func (*frozenClock) AfterFunc(time.Duration, func()) func() bool { return func() bool { return true } }

func TestStoppedProcessSeesItsLossAtOnce(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	defer store.Close()
	var clock frozenClock
	k := New(store, &clock)
	defer k.Close()
	for name, look := range map[string]func(l backend.Lock){
		"Lost": func(l backend.Lock) {
			select {
			case <-l.Lost():
			default:
				t.Error("Lost is open")
			}
		},
		"Unlock": func(l backend.Lock) { require.ErrorIs(t, l.Unlock(t.Context()), backend.ErrLockLost) },
	} {
		l, err := k.Lock(t.Context(), backend.LockOptions{Key: name, Own: quick})
		require.NoError(t, err)
		clock.Advance(last - 1)
		require.False(t, isLost(l))
		clock.Advance(1)
		look(l)
		require.True(t, isLost(l))
	}
}

func TestSomebodyElseEndsTheLock(t *testing.T) {
	for name, end := range map[string]func(f *fixture, l backend.Lock) error{
		"session destroyed": func(f *fixture, l backend.Lock) error { return f.mem.DestroySession(f.ctx, l.Session()) },
		"key deleted":       func(f *fixture, _ backend.Lock) error { return f.mem.Delete(f.ctx, "k", backend.DeleteOptions{}) },
		"key released": func(f *fixture, l backend.Lock) error {
			_, err := f.mem.Txn(f.ctx, []backend.TxnOp{{Verb: backend.VerbUnlock, Key: "k", Session: l.Session()}})
			return err
		},
		"key deleted, then locked by the same session": func(f *fixture, l backend.Lock) error {
			_, err := f.mem.Txn(f.ctx, []backend.TxnOp{{Verb: backend.VerbDelete, Key: "k"}})
			if err == nil {
				_, err = f.mem.Txn(f.ctx, []backend.TxnOp{{Verb: backend.VerbLock, Key: "k", Session: l.Session()}})
			}
			return err
		},
	} {
		for _, own := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(f *fixture) {
					opts := backend.LockOptions{Key: "k", Own: quick}
					if !own {
						opts = backend.LockOptions{Key: "k", Session: f.session(backend.SessionOptions{})}
					}
					l := f.lock(opts)
					f.put("k", "a plain write is no end")
					f.store.on("Get", times(3, fails(backend.NotReady)))
					f.store.on("Watch", times(3, fails(backend.NoQuorum)))
					f.put("k", "nor is a watch that fails")
					f.pass(ttl)
					require.False(t, isLost(l))
					before := time.Now()
					require.NoError(t, end(f, l))
					f.lost(l)
					require.Zero(t, time.Since(before))
					if own {
						f.none()
					}
				})
			})
		}
	}
}

func TestSessionMayLockTwice(t *testing.T) {
	inBubble(t, func(f *fixture) {
		id := f.session(backend.SessionOptions{})
		first := f.lock(backend.LockOptions{Key: "k", Value: []byte("1"), Session: id})
		waiting := f.locks(f.ctx, backend.LockOptions{Key: "k", Own: quick})
		second := f.lock(backend.LockOptions{Key: "k", Value: []byte("2"), Session: id})
		require.Equal(t, first.Token(), second.Token())
		require.Equal(t, "2", string(f.get("k").Value))
		other := f.lock(backend.LockOptions{Key: "other", Session: id})
		f.store.on("Watch", fails(backend.NotReady)) // the keeper needs no news of its own doings
		require.NoError(t, first.Unlock(f.ctx))
		require.True(t, isLost(second))
		f.store.on("Watch", nil)
		f.lost(second)
		require.False(t, isLost(other))
		f.pass(lookAgain)
		got := <-waiting
		require.NoError(t, got.err)
		require.NoError(t, got.lock.Unlock(f.ctx))
	})
}

// The session that Lock made for one lock can hold others, until it ends with the
// first.
func TestSessionOfAnotherLock(t *testing.T) {
	inBubble(t, func(f *fixture) {
		l := f.lock(backend.LockOptions{Key: "k", Own: quick})
		guest := f.lock(backend.LockOptions{Key: "guest", Session: l.Session()})
		f.pass(3 * ttl)
		require.False(t, isLost(guest))
		require.NoError(t, l.Unlock(f.ctx))
		f.lost(guest)
		f.none()
	})
}

func TestCloseWithManyLocks(t *testing.T) {
	const many = 1000
	inBubble(t, func(f *fixture) {
		var held []backend.Lock
		for i := range many {
			held = append(held, f.lock(backend.LockOptions{Key: numbered(i), Own: quick}))
		}
		own := f.locks(f.ctx, backend.LockOptions{Key: numbered(0)})
		given := f.locks(f.ctx, backend.LockOptions{Key: numbered(0), Session: f.session(backend.SessionOptions{})})
		f.keeper.Close()
		for _, l := range held {
			require.True(t, isLost(l))
			require.ErrorIs(t, l.Unlock(f.ctx), backend.ErrClosed)
		}
		require.ErrorIs(t, (<-own).err, backend.ErrClosed)
		require.ErrorIs(t, (<-given).err, backend.ErrClosed)
		_, err := f.keeper.Lock(f.ctx, backend.LockOptions{Key: "k"})
		require.ErrorIs(t, err, backend.ErrClosed)
		require.NotEmpty(t, f.get(numbered(1)).Session)
		f.pass(ttl)
		require.Empty(t, f.get(numbered(1)).Session, "somebody renews the session of a keeper that was closed")
	})
}

// Close comes while a renewal, a try to lock and one to destroy a session are on
// their way.
func TestCloseWhileCallsAreUnderWay(t *testing.T) {
	hang := func(ctx context.Context) (func() error, error) {
		<-ctx.Done()
		<-time.After(time.Millisecond)
		return nil, fault(backend.NoQuorum)
	}
	inBubble(t, func(f *fixture) {
		l := f.lock(backend.LockOptions{Key: "a", Own: quick})
		released := f.lock(backend.LockOptions{Key: "b", Own: quick})
		f.store.on("RenewSession", hang)
		f.store.on("DestroySession", hang)
		unlocked := make(chan error, 1)
		go func() { unlocked <- released.Unlock(context.WithoutCancel(f.ctx)) }()
		synctest.Wait()
		f.store.on("Txn", hang)
		locking := f.locks(f.ctx, backend.LockOptions{Key: "c"})
		f.pass(ttl / 3)
		start := time.Now()
		f.keeper.Close()
		require.Equal(t, time.Millisecond, time.Since(start), "Close does not wait for what goes on in the background")
		require.True(t, isLost(l))
		require.NoError(t, <-unlocked)
		require.ErrorIs(t, (<-locking).err, backend.ErrClosed)
	})
}

func TestLocksAreBounded(t *testing.T) {
	inBubble(t, func(f *fixture) {
		l := f.lock(backend.LockOptions{Key: "k"})
		f.keeper.mu.Lock()
		f.keeper.locks += maxLocks - 1
		f.keeper.mu.Unlock()
		_, err := f.keeper.Lock(f.ctx, backend.LockOptions{Key: "other"})
		require.ErrorIs(t, err, backend.ErrNotReady)
		require.NoError(t, l.Unlock(f.ctx))
		l = f.lock(backend.LockOptions{Key: "other"})
		require.NoError(t, l.Unlock(f.ctx))
		f.keeper.mu.Lock()
		f.keeper.locks -= maxLocks - 1
		f.keeper.mu.Unlock()
	})
}

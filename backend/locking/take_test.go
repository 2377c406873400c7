package locking

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

var outcomes = map[string]hook{"happened": forgets(backend.UnknownOutcome), "did not happen": fails(backend.UnknownOutcome)}

func TestUnknownOutcomeOfLocking(t *testing.T) {
	for name, h := range outcomes {
		for _, own := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(f *fixture) {
					opts := backend.LockOptions{Key: "k", Value: []byte("me"), Own: quick}
					if !own {
						opts.Session, opts.Own = f.session(quick), backend.SessionOptions{}
					}
					f.store.on("Txn", times(3, h))
					l := f.lock(opts)
					e := f.get("k")
					require.Equal(t, l.Session(), e.Session)
					require.Equal(t, l.Token(), e.LockToken)
					require.Equal(t, uint64(1), e.LockIndex)
					require.Equal(t, "me", string(e.Value))
					require.NoError(t, l.Unlock(f.ctx))
				})
			})
		}
	}
}

// What is to become of the lock is not known when ctx ends.
func TestContextEndsInDoubt(t *testing.T) {
	for name, h := range outcomes {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(f *fixture) {
				f.store.on("Txn", h)
				ctx, cancel := context.WithTimeout(f.ctx, time.Second)
				defer cancel()
				id := f.session(backend.SessionOptions{})
				_, err := f.keeper.Lock(ctx, backend.LockOptions{Key: "given", Session: id})
				require.ErrorIs(t, err, backend.ErrUnknownOutcome)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NoError(t, f.mem.DestroySession(f.ctx, id))

				ctx, cancel = context.WithTimeout(f.ctx, time.Second)
				defer cancel()
				_, err = f.keeper.Lock(ctx, backend.LockOptions{Key: "own", Own: quick})
				require.ErrorIs(t, err, backend.ErrNoQuorum, "nobody holds it: its session is gone")
				f.none()
			})
		})
	}
}

// An attempt that failed for certain settles what one before it left open.
func TestDoubtIsSettled(t *testing.T) {
	inBubble(t, func(f *fixture) {
		holder := f.lock(backend.LockOptions{Key: "k"})
		f.store.on("Txn", times(1, fails(backend.UnknownOutcome)))
		ctx, cancel := context.WithTimeout(f.ctx, time.Minute)
		defer cancel()
		_, err := f.keeper.Lock(ctx, backend.LockOptions{Key: "k", Session: f.session(backend.SessionOptions{})})
		require.ErrorIs(t, err, backend.ErrNoQuorum)
		require.NoError(t, holder.Unlock(f.ctx))
	})
}

func TestContextEndsWhileWaiting(t *testing.T) {
	for name, h := range map[string]hook{"at once": nil, "after a while": times(5, fails(backend.NoQuorum))} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(f *fixture) {
				holder := f.lock(backend.LockOptions{Key: "k", Session: f.session(backend.SessionOptions{})})
				ctx, cancel := context.WithCancel(f.ctx)
				var waiting []<-chan outcome
				for range 3 {
					waiting = append(waiting, f.locks(ctx, backend.LockOptions{Key: "k", Own: backend.SessionOptions{TTL: time.Hour}}))
				}
				f.pass(time.Minute)
				f.store.on("DestroySession", h)
				cancel()
				for _, w := range waiting {
					err := (<-w).err
					require.ErrorIs(t, err, backend.ErrNoQuorum)
					require.ErrorIs(t, err, context.Canceled)
				}
				f.pass(5 * lastPause)
				require.NoError(t, f.mem.DestroySession(f.ctx, holder.Session()))
				f.none()
			})
		})
	}
}

// TestGivenUpWhileTheSessionIsMade: what comes of it is destroyed, and a store that
// does not answer is left after a while.
func TestGivenUpWhileTheSessionIsMade(t *testing.T) {
	for name, h := range map[string]func(release <-chan struct{}) hook{
		"it comes late": func(release <-chan struct{}) hook {
			return func(context.Context) (func() error, error) { return func() error { <-release; return nil }, nil }
		},
		"it never comes": func(<-chan struct{}) hook {
			return func(ctx context.Context) (func() error, error) { <-ctx.Done(); return nil, fault(backend.NoQuorum) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(f *fixture) {
				release := make(chan struct{})
				f.store.on("CreateSession", h(release))
				ctx, cancel := context.WithTimeout(f.ctx, time.Second)
				defer cancel()
				begin := time.Now()
				_, err := f.keeper.Lock(ctx, backend.LockOptions{Key: "k", Own: backend.SessionOptions{TTL: time.Hour}})
				require.Equal(t, time.Second, time.Since(begin))
				require.ErrorIs(t, err, backend.ErrNoQuorum)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				close(release)
				f.pass(destroyTimeout)
				f.none()
				require.Zero(t, f.keeper.locks)
			})
		})
	}
}

func TestLockFailsAtTheStart(t *testing.T) {
	inBubble(t, func(f *fixture) {
		for code, want := range map[backend.Code]backend.Code{
			backend.NotReady: backend.NotReady, backend.Unauthorized: backend.Unauthorized, backend.UnknownOutcome: backend.NoQuorum, // nothing is locked
		} {
			f.store.on("CreateSession", fails(code))
			_, err := f.keeper.Lock(f.ctx, backend.LockOptions{Key: "k"})
			require.Equal(t, want, backend.CodeOf(err), "%v", err)
			require.ErrorContains(t, err, `"k"`)
		}
		f.store.on("CreateSession", nil)
		f.store.on("Txn", fails(backend.Unauthorized))
		_, err := f.keeper.Lock(f.ctx, backend.LockOptions{Key: "k"})
		require.ErrorIs(t, err, backend.ErrUnauthorized)
		f.none()
	})
}

func TestLockGetsOverFaults(t *testing.T) {
	for _, code := range []backend.Code{backend.NoQuorum, backend.NotReady, backend.TxnConflict} {
		inBubble(t, func(f *fixture) {
			f.store.on("Txn", times(5, fails(code)))
			start := time.Now()
			l := f.lock(backend.LockOptions{Key: "k", Own: quick})
			require.Positive(t, time.Since(start))
			require.LessOrEqual(t, time.Since(start), firstPause*(1+2+4+8+16))
			f.store.on("Get", times(2, fails(code)))
			f.store.on("Watch", times(2, fails(code)))
			f.store.on("Txn", times(2, fails(code)))
			waiting := f.locks(f.ctx, backend.LockOptions{Key: "k", Own: quick})
			f.pass(time.Minute)
			f.store.on("Get", times(2, fails(code)))
			f.store.on("Txn", times(2, fails(code)))
			require.NoError(t, l.Unlock(f.ctx))
			next := <-waiting
			require.NoError(t, next.err)
			require.NoError(t, next.lock.Unlock(f.ctx))
			f.none()
		})
	}
}

// A transaction that took longer than the TTL is no lock before the session was
// renewed.
func TestSlowLocking(t *testing.T) {
	slow := func(context.Context) (func() error, error) {
		return func() error { <-time.After(ttl - 1); return nil }, nil
	}
	inBubble(t, func(f *fixture) {
		f.store.on("Txn", times(1, slow))
		id := f.session(quick)
		l := f.lock(backend.LockOptions{Key: "k", Session: id})
		require.Equal(t, 2, f.store.count("RenewSession"))
		f.pass(last - 1)
		require.False(t, isLost(l))
		require.NoError(t, l.Unlock(f.ctx))

		_, err := f.mem.RenewSession(f.ctx, id)
		require.NoError(t, err)
		f.store.on("Txn", times(1, slow))
		f.store.on("RenewSession", func(context.Context) (func() error, error) {
			if f.get("k").Session == "" {
				return nil, nil // the first
			}
			return nil, fault(backend.NoQuorum)
		})
		ctx, cancel := context.WithTimeout(f.ctx, ttl)
		defer cancel()
		_, err = f.keeper.Lock(ctx, backend.LockOptions{Key: "k", Session: id})
		if !(backend.CodeOf(err) == backend.UnknownOutcome || backend.CodeOf(err) == backend.SessionInvalid) {
			t.Fatalf("a lock that may be lost was given out: %v", err)
		}
	})
}

// The session ends between locking the key and the renewal.
func TestSessionEndsOnTaking(t *testing.T) {
	inBubble(t, func(f *fixture) {
		holder := f.lock(backend.LockOptions{Key: "k"})
		id := f.session(quick)
		waiting := f.locks(f.ctx, backend.LockOptions{Key: "k", Session: id})
		f.store.on("RenewSession", func(ctx context.Context) (func() error, error) {
			return nil, f.mem.DestroySession(ctx, id)
		})
		require.NoError(t, holder.Unlock(f.ctx))
		require.ErrorIs(t, (<-waiting).err, backend.ErrSessionInvalid)
	})
}

// It is destroyed here while the answer is on its way.
func TestSessionIsDestroyedOnTaking(t *testing.T) {
	inBubble(t, func(f *fixture) {
		id := f.session(backend.SessionOptions{})
		f.store.on("Txn", times(1, func(ctx context.Context) (func() error, error) {
			return func() error { return f.keeper.DestroySession(ctx, id) }, nil
		}))
		_, err := f.keeper.Lock(f.ctx, backend.LockOptions{Key: "k", Session: id})
		require.ErrorIs(t, err, backend.ErrSessionInvalid)
	})
}

// The session is being destroyed here while a lock is taken with it: as long as it
// may have ended, nobody is told that they hold the lock.
func TestSessionMayBeDestroyedOnTaking(t *testing.T) {
	for name, tc := range map[string]struct {
		h    hook
		want backend.Code
	}{
		"done":            {nil, backend.SessionInvalid},
		"happened":        {forgets(backend.UnknownOutcome), backend.SessionInvalid},
		"did not happen":  {fails(backend.UnknownOutcome), backend.SessionInvalid},
		"fails for good":  {fails(backend.NotReady), 0},
		"fails after all": {fails(backend.NoQuorum), 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(f *fixture) {
				id := f.session(backend.SessionOptions{})
				arrived, goOn := make(chan struct{}), make(chan struct{})
				f.store.on("DestroySession", func(ctx context.Context) (func() error, error) {
					close(arrived)
					<-goOn
					if tc.h == nil {
						return nil, nil
					}
					return tc.h(ctx)
				})
				destroyed := make(chan error, 1)
				go func() { destroyed <- f.keeper.DestroySession(f.ctx, id) }()
				<-arrived
				locking := f.locks(f.ctx, backend.LockOptions{Key: "k", Session: id})
				f.pass(5 * lastPause)
				require.Empty(t, locking, "the session may have ended")
				close(goOn)
				err := <-destroyed
				require.Equal(t, tc.want == 0, backend.CodeOf(err) == backend.NotReady || backend.CodeOf(err) == backend.NoQuorum)
				got := <-locking
				require.Equal(t, tc.want, backend.CodeOf(got.err), "%v", got.err)
				f.store.on("DestroySession", nil)
				require.NoError(t, f.mem.DestroySession(f.ctx, id))
			})
		})
	}
}

// What ends the call after an attempt in doubt does not hide that the session may
// hold the lock.
func TestLockInDoubtEndsInAnotherError(t *testing.T) {
	for name, h := range outcomes {
		t.Run(name, func(t *testing.T) {
			for _, code := range []backend.Code{backend.Closed, backend.Unauthorized, backend.Internal} {
				for _, own := range []bool{true, false} {
					inBubble(t, func(f *fixture) {
						opts, want := backend.LockOptions{Key: "k", Own: quick}, code
						if !own {
							opts, want = backend.LockOptions{Key: "k", Session: f.session(quick)}, backend.UnknownOutcome
						}
						attempts := 0
						f.store.on("Txn", func(ctx context.Context) (func() error, error) {
							if attempts++; attempts == 1 {
								return h(ctx)
							}
							return nil, fault(code)
						})
						_, err := f.keeper.Lock(f.ctx, opts)
						require.Equal(t, want, backend.CodeOf(err), "%v", err)
					})
				}
			}
		})
	}
}

// Close ends a call of Lock whose last attempt may have succeeded.
func TestCloseInDoubt(t *testing.T) {
	inBubble(t, func(f *fixture) {
		f.store.on("Txn", func(ctx context.Context) (func() error, error) {
			return func() error { <-ctx.Done(); return fault(backend.UnknownOutcome) }, nil
		})
		id := f.session(backend.SessionOptions{})
		given := f.locks(f.ctx, backend.LockOptions{Key: "given", Session: id})
		own := f.locks(f.ctx, backend.LockOptions{Key: "own", Own: quick})
		f.keeper.Close()
		require.ErrorIs(t, (<-given).err, backend.ErrUnknownOutcome)
		require.Equal(t, id, f.get("given").Session)
		require.ErrorIs(t, (<-own).err, backend.ErrClosed)
	})
}

// A store that keeps no contract is an error and no crash.
func TestStoreAnswersWithNothing(t *testing.T) {
	inBubble(t, func(f *fixture) {
		for _, res := range []*backend.TxnResult{nil, {}, {Results: []backend.TxnOpResult{{}}}} {
			k := New(empty{f.store, res}, nil)
			_, err := k.Lock(f.ctx, backend.LockOptions{Key: "k", Own: quick})
			require.ErrorIs(t, err, backend.ErrInternal)
			synctest.Wait()
			k.Close()
		}
		f.none()
	})
}

type empty struct {
	Store
	res *backend.TxnResult
}

func (e empty) Txn(context.Context, []backend.TxnOp) (*backend.TxnResult, error) { return e.res, nil }

func TestLockDelayIsWaitedFor(t *testing.T) {
	for _, behavior := range []backend.Behavior{backend.BehaviorRelease, backend.BehaviorDelete} {
		inBubble(t, func(f *fixture) {
			const delay = 30 * time.Second
			l := f.lock(backend.LockOptions{Key: "k", Own: backend.SessionOptions{TTL: ttl, LockDelay: delay, Behavior: behavior}})
			waiting := f.locks(f.ctx, backend.LockOptions{Key: "k", Own: quick})
			f.pass(time.Minute)
			require.NoError(t, f.mem.DestroySession(f.ctx, l.Session()))
			f.lost(l)
			start := time.Now()
			next := <-waiting
			require.NoError(t, next.err)
			require.GreaterOrEqual(t, time.Since(start), delay)
			require.LessOrEqual(t, time.Since(start), delay+lastPause)
			require.Less(t, f.store.count("Txn"), 100)
			require.NoError(t, next.lock.Unlock(f.ctx))
		})
	}
}

// The session of a call that waits ends: destroyed here, elsewhere, or not renewed.
func TestSessionEndsWhileWaiting(t *testing.T) {
	for name, tc := range map[string]struct {
		ttl    time.Duration
		end    func(f *fixture, id string) error
		within time.Duration
	}{
		"destroyed here":      {0, func(f *fixture, id string) error { return f.keeper.DestroySession(f.ctx, id) }, 0},
		"destroyed elsewhere": {0, func(f *fixture, id string) error { return f.mem.DestroySession(f.ctx, id) }, lookAgain},
		"expired":             {ttl, func(*fixture, string) error { return nil }, ttl + lookAgain},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(f *fixture) {
				holder := f.lock(backend.LockOptions{Key: "k"})
				ahead := f.locks(f.ctx, backend.LockOptions{Key: "k"}) // has the turn
				id := f.session(backend.SessionOptions{TTL: tc.ttl})
				waiting := f.locks(f.ctx, backend.LockOptions{Key: "k", Session: id})
				require.NoError(t, tc.end(f, id))
				start := time.Now()
				require.ErrorIs(t, (<-waiting).err, backend.ErrSessionInvalid)
				require.LessOrEqual(t, time.Since(start), tc.within)
				require.NoError(t, holder.Unlock(f.ctx))
				require.NoError(t, (<-ahead).lock.Unlock(f.ctx))
			})
		})
	}
}

func TestOwnSessionEndsWhileWaiting(t *testing.T) {
	inBubble(t, func(f *fixture) {
		holder := f.lock(backend.LockOptions{Key: "k"})
		waiting := f.locks(f.ctx, backend.LockOptions{Key: "k", Own: quick})
		all, err := f.mem.Sessions(f.ctx)
		require.NoError(t, err)
		for _, s := range all {
			if s.ID != holder.Session() {
				require.NoError(t, f.mem.DestroySession(f.ctx, s.ID))
			}
		}
		require.ErrorIs(t, (<-waiting).err, backend.ErrSessionInvalid)
		require.NoError(t, holder.Unlock(f.ctx))
	})
}

// Who waits here takes turns, so that a hand-over costs the same whatever their
// number.
func TestManyWaiters(t *testing.T) {
	const many = 1000
	inBubble(t, func(f *fixture) {
		first := f.lock(backend.LockOptions{Key: "k"})
		var inside, newest uint64
		var wg sync.WaitGroup
		errs := make(chan error, many)
		for range many {
			wg.Go(func() {
				l, err := f.keeper.Lock(f.ctx, backend.LockOptions{Key: "k", Own: quick})
				if err != nil {
					errs <- err
					return
				}
				inside++ // unguarded: for the race detector, too
				if inside != 1 || l.Token() <= newest {
					errs <- fault(backend.Internal)
				}
				newest = l.Token()
				<-time.After(time.Millisecond)
				inside--
				if err := l.Unlock(f.ctx); err != nil {
					errs <- err
				}
			})
		}
		synctest.Wait()
		require.Equal(t, many+1, f.store.count("Txn"))
		reads := f.store.count("Get") + f.store.count("Watch")
		require.NoError(t, first.Unlock(f.ctx))
		wg.Wait()
		require.Empty(t, errs)
		require.Equal(t, uint64(many+1), f.get("k").LockIndex)
		require.Less(t, f.store.count("Txn"), 5*many)
		require.Less(t, f.store.count("Get")+f.store.count("Watch")-reads, 10*many)
		f.none()
	})
}

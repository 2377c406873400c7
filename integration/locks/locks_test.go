package locks

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/integration/crew"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store has all that clients need.
type store interface {
	backend.Backend
	backend.Transactional
	backend.Sessions
	backend.Locker
	backend.Fencer
}

// faulty is a store of which some methods are replaced; what it answers takes a
// moment.
type faulty struct {
	store
	lacks backend.Capability
	lock  func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error)
	fence func(ctx context.Context, f backend.Fence) error
	put   func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error)
	renew func(ctx context.Context, id string) (*backend.Session, error)

	mu  sync.Mutex
	rng *rand.Rand
}

func (f *faulty) Capabilities() backend.Capability { return backend.AllCapabilities &^ f.lacks }

func (f *faulty) wait() {
	f.mu.Lock()
	d := time.Duration(f.rng.IntN(20)) * time.Millisecond
	f.mu.Unlock()
	time.Sleep(d)
}

func (f *faulty) Lock(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
	f.wait()
	if f.lock != nil {
		return f.lock(ctx, opts)
	}
	return f.store.Lock(ctx, opts)
}

func (f *faulty) Fence(ctx context.Context, fence backend.Fence) error {
	f.wait()
	if f.fence != nil {
		return f.fence(ctx, fence)
	}
	return f.store.Fence(ctx, fence)
}

func (f *faulty) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	f.wait()
	defer f.wait()
	if f.put != nil {
		return f.put(ctx, key, value, opts)
	}
	return f.store.Put(ctx, key, value, opts)
}

func (f *faulty) RenewSession(ctx context.Context, id string) (*backend.Session, error) {
	f.wait()
	if f.renew != nil {
		return f.renew(ctx, id)
	}
	return f.store.RenewSession(ctx, id)
}

// judged lets clients work with a store for a while and judges it.
func judged(t *testing.T, change func(*faulty)) (r *Report, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		of := memory.New(backend.DefaultLimits())
		f := &faulty{store: of, rng: rand.New(rand.NewPCG(1, 1))}
		change(f)
		targets := []crew.Target{{Name: "a", Backend: f}, {Name: "b", Backend: f}}
		l := Start(Config{Seed: 1}, targets...)
		time.Sleep(10 * time.Minute)
		r = l.Stop()
		t.Log(r)
		err = r.Judge(t.Context(), targets...)
		require.NoError(t, of.Close())
	})
	return r, err
}

func TestLocksAtARightStore(t *testing.T) {
	r, err := judged(t, func(*faulty) {})
	require.NoError(t, err)
	n := r.locks.count
	require.Greater(t, n.taken, 100)
	for what, got := range map[string]int{
		"unlocked": n.unlocked, "destroyed": n.destroyed, "vanished": n.vanished, "frozen": n.frozen,
		"fences": n.fences, "stale": n.stale, "refused": n.refused,
	} {
		require.Greater(t, got, 5, what)
	}
}

func TestLocksWithoutFences(t *testing.T) {
	r, err := judged(t, func(f *faulty) { f.lacks = backend.CanFence })
	require.NoError(t, err)
	require.Greater(t, r.locks.count.stale, 5)
	require.Zero(t, r.locks.count.fences)
}

// wrongLock is a lock of which something is replaced.
type wrongLock struct {
	backend.Lock
	token uint64
	lost  <-chan struct{}
}

func (w wrongLock) Token() uint64         { return w.token }
func (w wrongLock) Lost() <-chan struct{} { return w.lost }

// TestFaults: what a store can do wrong is found.
func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(f *faulty)
		want   string
	}{
		"two holders": {func(f *faulty) {
			f.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
				opts.Key += "/" + string(bytes.TrimSpace(opts.Value[:min(8, len(opts.Value))])) // each client has one of its own
				return f.store.Lock(ctx, opts)
			}
		}, "TWO HOLDERS"},
		"a lock that is given to who waits longest": {func(f *faulty) {
			f.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
				short, cancel := context.WithTimeout(ctx, 8*time.Second)
				defer cancel()
				l, err := f.store.Lock(short, opts)
				if err == nil || ctx.Err() != nil {
					return l, err
				}
				if err := f.store.Delete(ctx, opts.Key, backend.DeleteOptions{}); err != nil {
					return nil, err
				}
				return f.store.Lock(ctx, opts)
			}
		}, "EARLY"},
		"a token that does not grow": {func(f *faulty) {
			f.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
				l, err := f.store.Lock(ctx, opts)
				if err != nil {
					return nil, err
				}
				return wrongLock{l, 7, l.Lost()}, nil
			}
		}, "TOKEN"},
		"a token that falls": {func(f *faulty) {
			f.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
				l, err := f.store.Lock(ctx, opts)
				if err != nil {
					return nil, err
				}
				return wrongLock{l, 1<<40 - l.Token(), l.Lost()}, nil
			}
		}, "TOKEN"},
		"a holder that is not told": {func(f *faulty) {
			f.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
				l, err := f.store.Lock(ctx, opts)
				if err != nil {
					return nil, err
				}
				return wrongLock{l, l.Token(), make(chan struct{})}, nil
			}
		}, "NOT TOLD"},
		"a session that is not renewed": {func(f *faulty) {
			f.renew = func(ctx context.Context, id string) (*backend.Session, error) { return f.store.Session(ctx, id) }
		}, "EARLY"},
		"a fence that does nothing": {func(f *faulty) {
			f.fence = func(context.Context, backend.Fence) error { return nil }
		}, "no order"},
		"a write that gets past the fence": {func(f *faulty) {
			f.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
				index, err := f.store.Put(ctx, key, value, opts)
				if backend.CodeOf(err) == backend.Fenced && opts.Fence.Token%3 == 0 {
					return f.store.Put(ctx, key, value, backend.PutOptions{})
				}
				return index, err
			}
		}, "no order"},
		"a refused write that surfaces later": {func(f *faulty) {
			f.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
				index, err := f.store.Put(ctx, key, value, opts)
				if backend.CodeOf(err) == backend.Fenced {
					time.AfterFunc(time.Second, func() { _, _ = f.store.Put(context.Background(), key, value, backend.PutOptions{}) })
				}
				return index, err
			}
		}, "no order"},
		"a doubtful write that surfaces behind the fence": {func(f *faulty) {
			f.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
				if opts.Fence.Token%3 != 0 {
					return f.store.Put(ctx, key, value, opts)
				}
				time.AfterFunc(15*time.Second, func() { _, _ = f.store.Put(context.Background(), key, value, backend.PutOptions{}) })
				return 0, backend.Errorf(backend.UnknownOutcome, key, "nobody knows")
			}
		}, "no order"},
		"a holder that is refused": {func(f *faulty) {
			f.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
				if opts.Fence.Token%5 == 0 {
					return 0, backend.Errorf(backend.Fenced, key, "not you")
				}
				return f.store.Put(ctx, key, value, opts)
			}
		}, "nobody had a newer one"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := judged(t, tc.change)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

// TestLockedForEver: a lock that nobody gives back is found in the end.
func TestLockedForEver(t *testing.T) {
	_, err := judged(t, func(f *faulty) {
		f.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
			if opts.Key == lockKey(0) {
				opts.Session, opts.Own = "", backend.SessionOptions{TTL: backend.MaxTTL}
			}
			return f.store.Lock(ctx, opts)
		}
	})
	require.ErrorContains(t, err, "was not to be had")
}

package hosting

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/locking"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// cut is a store whose keys have no quorum for a while; its sessions live.
type cut struct {
	*memory.Store
	keys, sessions, fences atomic.Bool
}

func refusal(refuse *atomic.Bool) error {
	if refuse.Load() {
		return backend.Errorf(backend.NoQuorum, "", "too few members")
	}
	return nil
}

func (c *cut) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	if err := refusal(&c.keys); err != nil {
		return nil, err
	}
	return c.Store.Txn(ctx, ops)
}

func (c *cut) DestroySession(ctx context.Context, id string) error {
	if err := refusal(&c.sessions); err != nil {
		return err
	}
	return c.Store.DestroySession(ctx, id)
}

// Fence is the last that a holder asks for: the quorum goes with it.
func (c *cut) Fence(ctx context.Context, f backend.Fence) error {
	if err := refusal(&c.fences); err != nil {
		c.keys.Store(true)
		return err
	}
	return c.Store.Fence(ctx, f)
}

// kept has the locks of a keeper, as nodes and plugins have.
type kept struct {
	backend.Backend
	backend.Transactional
	backend.Watcher
	backend.Fencer
	keeper
}

type keeper interface {
	backend.Locker
	backend.Sessions
}

// overKeeper returns a store over c whose locks are a keeper's.
func overKeeper(t *testing.T, c *cut) *Store {
	k := locking.New(c, nil)
	s, err := New(kept{closeless{c}, c, c, c, k}, map[string]string{"timeout": "1s"}, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		k.Close()
	})
	return s
}

// A lock whose release fails is lost, and somebody else has it after the TTL: hosts
// only log that error, and drop the lock.
func TestLockThatIsNotReleased(t *testing.T) {
	for _, test := range []struct {
		name                string
		fenceFails, destroy bool
		within              time.Duration
	}{
		{"its session ends when the members are back", false, true, 2 * time.Second},
		{"its session ends by itself", false, false, backend.MinTTL},
		{"its fence fails before", true, true, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cut{Store: newMemory()}
				one, two := overKeeper(t, c), overKeeper(t, c)
				lock := one.NewLock("lock", "one")
				c.fences.Store(test.fenceFails)
				lost, err := lock.Lock(nil)
				if !test.fenceFails {
					require.NoError(t, err)
					c.keys.Store(true)
					c.sessions.Store(true)
					err = lock.Unlock()
					select {
					case <-lost:
					default:
						t.Error("Lost is open")
					}
					require.NoError(t, lock.Unlock(), "it is not held any more")
				}
				require.ErrorIs(t, err, backend.ErrNoQuorum)
				require.ErrorContains(t, err, "the lock is given up")

				c.keys.Store(false)
				c.fences.Store(false)
				c.sessions.Store(!test.destroy)
				healed, stop := time.Now(), make(chan struct{})
				defer time.AfterFunc(time.Minute, func() { close(stop) }).Stop()
				for _, l := range []*Lock{two.NewLock("lock", "two"), one.NewLock("lock", "again")} {
					got, err := l.Lock(stop)
					require.NoError(t, err)
					require.NotNil(t, got, "nobody gets the lock")
					require.Less(t, time.Since(healed), test.within+time.Second)
					require.NoError(t, l.Unlock())
				}
			})
		})
	}
}

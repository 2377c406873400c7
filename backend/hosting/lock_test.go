package hosting

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// waiting calls Lock and returns once it waits for the lock, with what it will answer.
// It is called in a bubble of synctest.
func waiting(l *Lock, stop <-chan struct{}) <-chan error {
	answered := make(chan error, 1)
	go func() {
		got, err := l.Lock(stop)
		if got != nil {
			err = errors.Join(err, errors.New("it has the lock"))
		}
		answered <- err
	}()
	synctest.Wait()
	return answered
}

func TestLockIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newMemory()
		one, two := over(t, shared), over(t, shared)
		first, second := one.NewLock("lock", "one"), two.NewLock("lock", "two")
		lost, err := first.Lock(nil)
		require.NoError(t, err)
		_, err = first.Lock(nil)
		require.ErrorContains(t, err, "held or waited for already")

		stop := make(chan struct{})
		answered := waiting(second, stop)
		_, err = second.Lock(nil)
		require.ErrorContains(t, err, "held or waited for already")
		close(stop)
		require.NoError(t, <-answered)
		for _, l := range []*Lock{first, second} {
			held, value, err := l.Value()
			require.NoError(t, err)
			require.True(t, held)
			require.Equal(t, "one", value)
		}

		require.NoError(t, second.Unlock(), "never held")
		require.NoError(t, first.Unlock())
		<-lost
		require.NoError(t, first.Unlock(), "not held any more")
		held, _, err := first.Value()
		require.NoError(t, err)
		require.False(t, held)
		_, err = second.Lock(nil)
		require.NoError(t, err)
		require.NoError(t, second.Unlock())
	})
}

// A lock whose fence cannot be set is not held.
func TestFenceFails(t *testing.T) {
	shared := newMemory()
	s := over(t, unfenceable{shared})
	l := s.NewLock("lock", "x")
	_, err := l.Lock(nil)
	require.ErrorIs(t, err, backend.ErrNoQuorum)
	held, _, err := l.Value()
	require.NoError(t, err)
	require.False(t, held)
	require.ErrorIs(t, s.Register(l), backend.ErrInvalid)
}

type unfenceable struct{ *memory.Store }

func (unfenceable) Fence(context.Context, backend.Fence) error {
	return backend.Errorf(backend.NoQuorum, "", "too few members")
}

// A storage without fences delays the next holder instead.
func TestLockDelay(t *testing.T) {
	require.Zero(t, over(t, newMemory()).stanza.lockDelay)
	require.Equal(t, backend.DefaultLockDelay, over(t, struct {
		backend.Backend
		backend.Locker
	}{newMemory(), newMemory()}).stanza.lockDelay)
	s, err := New(struct{ backend.Backend }{newMemory()}, map[string]string{"lock_delay": "0s"}, nil)
	require.NoError(t, err)
	require.Zero(t, s.stanza.lockDelay)
	_, err = s.NewLock("k", "").Lock(nil)
	require.ErrorContains(t, err, "no locks")
	_, err = s.Begin(true).Get(t.Context(), "k")
	require.ErrorContains(t, err, "no transactions")
	require.NoError(t, s.Close())
}

// What the host registers is what writes carry, whatever lock is taken later.
func TestRegisteredLockCounts(t *testing.T) {
	shared := newMemory()
	s, other := over(t, shared), over(t, shared)
	active, side := s.NewLock("active", "s"), s.NewLock("side", "s")
	for _, l := range []*Lock{active, side} {
		_, err := l.Lock(nil)
		require.NoError(t, err)
		require.NoError(t, s.Register(active))
	}
	require.NoError(t, side.Unlock())
	_, err := other.NewLock("side", "other").Lock(nil)
	require.NoError(t, err)
	require.NoError(t, s.Put(t.Context(), "k", nil, false))
	require.NoError(t, active.Unlock())
	_, err = other.NewLock("active", "other").Lock(nil)
	require.NoError(t, err)
	require.ErrorIs(t, s.Put(t.Context(), "k", nil, false), backend.ErrFenced)
	require.NoError(t, s.Put(t.Context(), "k", nil, true))
}

// A server that lost the lock and has it again writes with the newer token, also before
// it registers that.
func TestRegisteredLockIsTakenAgain(t *testing.T) {
	shared := newMemory()
	s, other := over(t, shared), over(t, shared)
	lock, theirs := s.NewLock("active", "s"), other.NewLock("active", "other")
	for range 2 {
		_, err := lock.Lock(nil)
		require.NoError(t, err)
		require.NoError(t, s.Put(t.Context(), "k", nil, false))
		require.NoError(t, s.Register(lock))
		require.NoError(t, lock.Unlock())
		_, err = theirs.Lock(nil)
		require.NoError(t, err)
		require.ErrorIs(t, s.Put(t.Context(), "k", nil, false), backend.ErrFenced)
		require.NoError(t, theirs.Unlock())
	}
}

// An end of the store ends who waits for a lock.
func TestCloseEndsLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newMemory()
		_, err := over(t, shared).NewLock("lock", "x").Lock(nil)
		require.NoError(t, err)
		s, err := New(struct {
			backend.Backend
			backend.Locker
		}{closeless{shared}, shared}, nil, nil)
		require.NoError(t, err)
		answered := waiting(s.NewLock("lock", "y"), nil)
		require.Empty(t, answered, "it does not wait")
		require.NoError(t, s.Close())
		require.Error(t, <-answered)
	})
}

// The fence is the store's that has the lock. A host that has opened another one is told,
// once.
func TestSeveralStores(t *testing.T) {
	openLogged := func(r *record) *Store {
		s, err := Open(map[string]string{"plugin_path": memoryPlugin, "memory": "true"}, hclog.New(&hclog.LoggerOptions{Output: r, Level: hclog.Warn}))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		return s
	}
	const warning = "use one stanza for storage and ha_storage"
	locks := func(s *Store) {
		for _, key := range []string{"a", "b"} {
			_, err := s.NewLock(key, "").Lock(nil)
			require.NoError(t, err)
		}
	}
	var ha, again record
	data, locker := openLogged(&record{}), openLogged(&ha)
	locks(locker)
	_, log := ha.take()
	require.Equal(t, 1, strings.Count(log, warning), log)
	for range 2 {
		require.NoError(t, data.Close())
		require.NoError(t, locker.Close())
	}
	locks(openLogged(&again))
	_, log = again.take()
	require.NotContains(t, log, warning, "it is alone")
}

type closeless struct{ backend.Backend }

func (closeless) Close() error { return nil }

package memory

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Of deleted keys the newest are remembered, and whoever asks for a forgotten one
// gets an index that no state of it had.
func TestDeletedKeysAreForgotten(t *testing.T) {
	s := New(backend.DefaultLimits())
	ctx := t.Context()
	watch := func(q backend.WatchQuery) uint64 {
		index, err := s.Watch(ctx, q)
		require.NoError(t, err)
		return index
	}
	gone := func(i int) {
		key := fmt.Sprint("gone/", i)
		_, err := s.Put(ctx, key, nil, backend.PutOptions{})
		require.NoError(t, err)
		require.NoError(t, s.Delete(ctx, key, backend.DeleteOptions{}))
	}
	_, err := s.Put(ctx, "live", nil, backend.PutOptions{})
	require.NoError(t, err)
	live := s.index
	for i := range maxDeleted {
		gone(i)
	}
	require.Len(t, s.deleted, maxDeleted)
	first := watch(backend.WatchQuery{Key: "gone/0"})
	require.Equal(t, live+2, first)
	require.EqualValues(t, noIndex, watch(backend.WatchQuery{Key: "never"}))

	gone(maxDeleted)
	require.Len(t, s.deleted, maxDeleted/2+1)
	require.Len(t, s.deletedKeys, maxDeleted/2+1)
	require.Greater(t, watch(backend.WatchQuery{Key: "gone/0", After: first}), first)
	require.Equal(t, s.forgotten, watch(backend.WatchQuery{Key: "never"}))
	require.Equal(t, live, watch(backend.WatchQuery{Key: "live"}))
	require.Equal(t, s.index, watch(backend.WatchQuery{Key: fmt.Sprint("gone/", maxDeleted)}))
	require.Equal(t, s.index, watch(backend.WatchQuery{Prefix: "gone/"}))
	res, err := s.List(ctx, backend.ListQuery{Prefix: "other/"})
	require.NoError(t, err)
	require.Equal(t, s.forgotten, res.Index)
}

func TestWaitersAreBoundedAndLeave(t *testing.T) {
	s := New(backend.DefaultLimits())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for _, q := range []backend.WatchQuery{{Key: "k", After: noIndex}, {Prefix: "k", After: noIndex}} {
		go func() {
			_, err := s.Watch(ctx, q)
			ended <- err
		}()
	}
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.waiters.count == 2
	}, 10*time.Second, time.Millisecond)
	s.mu.Lock()
	s.waiters.count = maxWaiters
	s.mu.Unlock()
	_, err := s.Watch(ctx, backend.WatchQuery{Key: "k", After: noIndex})
	require.ErrorIs(t, err, backend.ErrNotReady)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Equal(t, maxWaiters-2, s.waiters.count)
	require.Empty(t, s.waiters.keys)
	require.Empty(t, s.waiters.prefixes)
}

func TestSessionsAreBounded(t *testing.T) {
	s := New(backend.DefaultLimits())
	for i := range maxSessions {
		s.sessions[fmt.Sprint(i)] = &session{}
	}
	_, err := s.CreateSession(t.Context(), backend.SessionOptions{})
	require.ErrorIs(t, err, backend.ErrNotReady)
	_, err = s.Lock(t.Context(), backend.LockOptions{Key: "k"})
	require.ErrorIs(t, err, backend.ErrNotReady)
	require.NoError(t, s.DestroySession(t.Context(), "0"))
	_, err = s.CreateSession(t.Context(), backend.SessionOptions{})
	require.NoError(t, err)
}

func TestFencesAreBounded(t *testing.T) {
	s := New(backend.DefaultLimits())
	for i := range backend.MaxFences + 1 {
		l, err := s.Lock(t.Context(), backend.LockOptions{Key: fmt.Sprint("lock", i)})
		require.NoError(t, err)
		err = s.Fence(t.Context(), backend.FenceOf(l))
		if i < backend.MaxFences {
			require.NoError(t, err)
			require.NoError(t, s.Fence(t.Context(), backend.FenceOf(l)), "a fence that is known takes no room")
			continue
		}
		require.ErrorIs(t, err, backend.ErrTooLarge)
	}
}

// Nothing is left of what came and went.
func TestNothingIsLeft(t *testing.T) {
	var clock ManualClock
	s := NewWithClock(backend.DefaultLimits(), &clock)
	ctx := t.Context()
	made, err := s.CreateSession(ctx, backend.SessionOptions{TTL: backend.MinTTL})
	require.NoError(t, err)
	given, err := s.Lock(ctx, backend.LockOptions{Key: "a", Session: made.ID})
	require.NoError(t, err)
	own, err := s.Lock(ctx, backend.LockOptions{Key: "b"})
	require.NoError(t, err)
	require.NoError(t, s.Delete(ctx, "b", backend.DeleteOptions{}))
	<-own.Lost()
	_, err = s.Put(ctx, "c", nil, backend.PutOptions{ExpiresAfter: backend.MinTTL})
	require.NoError(t, err)
	clock.Advance(backend.MinTTL)
	<-given.Lost()
	require.Len(t, s.delays, 1)
	clock.Advance(backend.DefaultLockDelay)
	require.Empty(t, s.sessions)
	require.Empty(t, s.handles)
	require.Empty(t, s.delays)
	require.Empty(t, s.expiries)
	require.Empty(t, s.alarms)
	require.Empty(t, clock.alarms)
	require.Equal(t, keyset{"a"}, s.keys)
}

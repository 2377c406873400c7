package memory

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) { conforms(t, backend.DefaultLimits()) }

func TestConformanceWithSmallLimits(t *testing.T) {
	conforms(t, backend.Limits{MaxKeySize: 256, MaxValueSize: 1 << 10})
}

func conforms(t *testing.T, limits backend.Limits) {
	var clock ManualClock
	backendtest.RunWith(t, func(*testing.T) backend.Backend { return NewWithClock(limits, &clock) },
		backendtest.Options{Must: backend.AllCapabilities, Advance: clock.Advance})
}

func TestCodeAndCauseOfADoneContext(t *testing.T) {
	expired, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()

	for _, tc := range []struct {
		name  string
		ctx   context.Context
		cause error
	}{
		{"expired", expired, context.DeadlineExceeded},
		{"cancelled", cancelled, context.Canceled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := New(backend.DefaultLimits())
			_, err := s.Put(tc.ctx, "k", nil, backend.PutOptions{})
			require.ErrorIs(t, err, backend.ErrNoQuorum)
			require.ErrorIs(t, err, tc.cause)
			var e *backend.Error
			require.True(t, errors.As(err, &e))
			require.Equal(t, "k", e.Key)
			require.EqualValues(t, noIndex, s.index)
		})
	}
}

func TestIndexStaysWithin53Bits(t *testing.T) {
	s := New(backend.DefaultLimits())
	s.index = maxIndex - 2
	ctx := t.Context()

	_, err := s.Put(ctx, "a", []byte("1"), backend.PutOptions{})
	require.NoError(t, err)
	last, err := s.Put(ctx, "a", []byte("2"), backend.PutOptions{})
	require.NoError(t, err)
	require.Equal(t, uint64(1)<<53-1, last)

	_, err = s.Put(ctx, "a", []byte("3"), backend.PutOptions{})
	require.ErrorIs(t, err, backend.ErrInternal)
	require.ErrorIs(t, s.Delete(ctx, "a", backend.DeleteOptions{}), backend.ErrInternal)
	_, err = s.Pop(ctx, "a")
	require.ErrorIs(t, err, backend.ErrInternal)
	_, err = s.PopItem(ctx)
	require.ErrorIs(t, err, backend.ErrInternal)

	_, err = s.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbSet, Key: "a", Value: []byte("3")}})
	require.ErrorIs(t, err, backend.ErrInternal)
	_, err = s.Lock(ctx, backend.LockOptions{Key: "a"})
	require.ErrorIs(t, err, backend.ErrInternal)
	_, err = s.CreateSession(ctx, backend.SessionOptions{})
	require.ErrorIs(t, err, backend.ErrInternal)

	e, err := s.Get(ctx, "a", backend.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "2", string(e.Value), "a change without an index must not happen")
}

// A delete that changes nothing takes no index, and a listing's index covers the
// deletes under its prefix.
func TestListIndex(t *testing.T) {
	s := New(backend.DefaultLimits())
	ctx := t.Context()
	put := func(key string) uint64 {
		index, err := s.Put(ctx, key, nil, backend.PutOptions{})
		require.NoError(t, err)
		return index
	}
	list := func(q backend.ListQuery) uint64 {
		res, err := s.List(ctx, q)
		require.NoError(t, err)
		return res.Index
	}

	require.Zero(t, list(backend.ListQuery{}))
	require.NoError(t, s.Delete(ctx, "a/1", backend.DeleteOptions{}))
	require.Zero(t, list(backend.ListQuery{}))

	a, deep, b := put("a/1"), put("a/d/1"), put("b/1")
	require.Equal(t, deep, list(backend.ListQuery{Prefix: "a/"}))
	require.Equal(t, deep, list(backend.ListQuery{Prefix: "a/", Separator: "/"}), "folded keys count")
	require.Equal(t, a, list(backend.ListQuery{Prefix: "a/", Limit: 1}), "only what the page needed")
	require.Equal(t, b, list(backend.ListQuery{}))

	require.NoError(t, s.Delete(ctx, "b/1", backend.DeleteOptions{}))
	require.Equal(t, b+1, list(backend.ListQuery{}))
	require.Equal(t, deep, list(backend.ListQuery{Prefix: "a/"}))
}

func TestKeysFollowEntries(t *testing.T) {
	s := New(backend.DefaultLimits())
	ctx := t.Context()
	for _, key := range []string{"b", "a", "c", "a"} {
		_, err := s.Put(ctx, key, nil, backend.PutOptions{})
		require.NoError(t, err)
	}
	require.Equal(t, keyset{"a", "b", "c"}, s.keys)
	_, err := s.Pop(ctx, "b")
	require.NoError(t, err)
	require.Equal(t, keyset{"a", "c"}, s.keys)
	e, err := s.PopItem(ctx)
	require.NoError(t, err)
	require.Equal(t, "c", e.Key)
	require.Equal(t, keyset{"a"}, s.keys)
	require.Len(t, s.entries, 1)

	require.NoError(t, s.Close())
	require.Nil(t, s.keys)
	require.Nil(t, s.entries)
}

package hosting

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// Of those who ask the same, some share an answer, but none gets one that began before
// it asked.
func TestSharedListings(t *testing.T) {
	shared := &counting{Store: newMemory(), begun: make(chan struct{}), proceed: make(chan struct{})}
	s := over(t, shared)
	q := Query("", "", 0)
	var callers sync.WaitGroup
	list := func(want int) {
		callers.Go(func() {
			r, err := s.Snapshot(t.Context(), q)
			require.NoError(t, err)
			require.Len(t, r.Items, want)
		})
	}
	list(0)
	<-shared.begun // and saw nothing
	_, err := shared.Put(t.Context(), "k", nil, backend.PutOptions{})
	require.NoError(t, err)
	const more = 20
	for range more {
		list(1)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for s.waiting(q) < 1 {
		require.NoError(t, ctx.Err())
	}
	close(shared.proceed)
	callers.Wait()
	require.LessOrEqual(t, shared.lists, 1+more)
	require.Empty(t, s.asked)
	require.Empty(t, s.asking)
}

// waiting counts the listings that are to begin.
func (s *Store) waiting(q backend.ListQuery) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked[q] == nil {
		return 0
	}
	return 1
}

// counting is a store whose first listing waits, after it has looked.
type counting struct {
	*memory.Store
	begun, proceed chan struct{}
	mu             sync.Mutex
	lists          int
}

func (c *counting) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	r, err := c.Store.List(ctx, q)
	c.mu.Lock()
	c.lists++
	first := c.lists == 1
	c.mu.Unlock()
	if first {
		close(c.begun)
		<-c.proceed
	}
	return r, err
}

// A listing that others do not let settle is tried again.
func TestListingsAreTriedAgain(t *testing.T) {
	b := &restless{Store: newMemory(), left: 3}
	names, err := over(t, b).List(t.Context(), "", "", 0)
	require.NoError(t, err)
	require.Empty(t, names)
	require.Zero(t, b.left)
	b.left = 1 << 30
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = over(t, b).List(ctx, "", "", 0)
	require.Error(t, err)
}

type restless struct {
	*memory.Store
	left int
}

func (r *restless) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if r.left > 0 {
		r.left--
		codes := []backend.Code{backend.Conflict, backend.NoQuorum, backend.UnknownOutcome}
		return nil, backend.Errorf(codes[r.left%len(codes)], q.Prefix, "it kept changing")
	}
	return r.Store.List(ctx, q)
}

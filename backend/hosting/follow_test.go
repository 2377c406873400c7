package hosting

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// unreadable is a store whose listings take time, and fail while it says so.
type unreadable struct {
	*memory.Store
	mu    sync.Mutex
	fails bool
	takes time.Duration
	// pages are the sizes of what was listed.
	pages []int
}

func (u *unreadable) set(fails bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fails = fails
}

func (u *unreadable) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	u.mu.Lock()
	fails, takes := u.fails, u.takes
	u.mu.Unlock()
	if fails {
		takes = time.Hour
	}
	select {
	case <-time.After(takes):
		r, err := u.Store.List(ctx, q)
		if err == nil {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.pages = append(u.pages, r.Size())
		}
		return r, err
	case <-ctx.Done():
		return nil, backend.Errorf(backend.NoQuorum, q.Prefix, "too few members: %w", ctx.Err())
	}
}

// A record is what a follower was told and what its store logged.
type record struct {
	mu    sync.Mutex
	named []string
	log   bytes.Buffer
}

func (r *record) changed(keys ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.named = append(r.named, strings.Join(keys, " "))
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(p)
}

// take returns what was told, call by call, and logged since the last time.
func (r *record) take() (named []string, log string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	named, log = r.named, r.log.String()
	r.named = nil
	r.log.Reset()
	return named, log
}

// following follows u in synctest's time, with a timeout of a second.
func following(t *testing.T, u *unreadable, test func(t *testing.T, s *Store, r *record)) {
	synctest.Test(t, func(t *testing.T) {
		u.Store = newMemory()
		r := &record{}
		s, err := New(u, map[string]string{"timeout": "1s"}, hclog.New(&hclog.LoggerOptions{Output: r}))
		require.NoError(t, err)
		test(t, s, r)
		require.NoError(t, s.Close())
	})
}

// pass lets d go by, and all happen that is due by then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// A storage at rest is nothing to tell. One that changes and can not be read is: then all
// keys may have changed, and again with every change.
func TestFollowWithoutReading(t *testing.T) {
	u := &unreadable{}
	following(t, u, func(t *testing.T, s *Store, r *record) {
		put := func(key string) { require.NoError(t, s.Put(t.Context(), key, nil, false)) }
		put("a")
		put("b")
		s.Follow(r.changed)
		pass(time.Minute)
		named, log := r.take()
		require.Empty(t, named)
		require.Empty(t, log)

		u.set(true)
		put("a")
		pass(30 * time.Second)
		named, log = r.take()
		require.Equal(t, []string{"a b"}, named, "once")
		require.Contains(t, log, "[WARN]")
		require.Contains(t, log, "the storage does not say what changed")
		require.NotContains(t, log, "[ERROR]")
		put("c")
		pass(followAlarm)
		named, log = r.take()
		require.Equal(t, []string{"a b"}, named, "another change, and it knows no more keys")
		require.Contains(t, log, "[ERROR]", "it does not end")

		u.set(false)
		pass(10 * time.Second)
		named, _ = r.take()
		require.Equal(t, []string{"a c"}, named)
		put("b")
		pass(10 * time.Second)
		named, log = r.take()
		require.Equal(t, []string{"b"}, named)
		require.Empty(t, log)
	})
}

// A host that waits for the first reading says so.
func TestFollowStartsWithoutReading(t *testing.T) {
	u := &unreadable{fails: true}
	following(t, u, func(t *testing.T, s *Store, r *record) {
		follows := make(chan struct{})
		go func() {
			defer close(follows)
			s.Follow(r.changed)
		}()
		pass(10 * time.Second)
		_, log := r.take()
		require.Contains(t, log, "the host does not start before it was once")
		u.set(false)
		<-follows
	})
}

// A reading may take longer than an operation.
func TestFollowReadsSlowly(t *testing.T) {
	u := &unreadable{takes: 700 * time.Millisecond}
	following(t, u, func(t *testing.T, s *Store, r *record) {
		for i := range backend.PageSize + 1 {
			require.NoError(t, s.Put(t.Context(), fmt.Sprintf("k/%04d", i), nil, false))
		}
		s.Follow(r.changed)
		require.NoError(t, s.Put(t.Context(), "k/0007", nil, false))
		pass(time.Minute)
		named, log := r.take()
		require.Equal(t, []string{"k/0007"}, named)
		require.Empty(t, log)
	})
}

// Large values are read few at a time.
func TestFollowReadsLargeValues(t *testing.T) {
	u := &unreadable{}
	following(t, u, func(t *testing.T, s *Store, r *record) {
		value := make([]byte, 200<<10)
		for i := range 3 * FirstPage {
			require.NoError(t, s.Put(t.Context(), fmt.Sprintf("k/%04d", i), value, false))
		}
		s.Follow(r.changed)
		require.Greater(t, u.pages[0], backend.PageBytes, "of the first page nobody knew")
		require.Greater(t, len(u.pages), 4)
		for _, size := range u.pages[1:] {
			require.LessOrEqual(t, size, backend.PageBytes)
		}
	})
}

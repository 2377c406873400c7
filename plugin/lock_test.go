package plugin

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// A lock is lost by the host's own clock, counted from the renewals that went
// through the client, whatever the plugin's clock says.
func TestLostByTheHostsClock(t *testing.T) {
	var hosts, plugins memory.ManualClock
	c, _ := connect(t, memory.NewWithClock(backend.DefaultLimits(), &plugins), &hosts)
	ctx := t.Context()
	s, err := c.CreateSession(ctx, backend.SessionOptions{TTL: backend.MinTTL})
	require.NoError(t, err)
	l, err := c.Lock(ctx, backend.LockOptions{Key: "k", Session: s.ID})
	require.NoError(t, err)
	for range 3 {
		hosts.Advance(backend.MinTTL - time.Second)
		requireOpen(t, l.Lost())
		_, err = c.RenewSession(ctx, s.ID)
		require.NoError(t, err)
	}
	hosts.Advance(backend.MinTTL)
	<-l.Lost()
	e, err := c.Get(ctx, "k", backend.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, s.ID, e.Session, "for the plugin no time has passed")

	// What ends the session through the client ends the lock.
	l, err = c.Lock(ctx, backend.LockOptions{Key: "k", Session: s.ID})
	require.NoError(t, err)
	require.NoError(t, c.DestroySession(ctx, s.ID))
	<-l.Lost()
}

func requireOpen(t *testing.T, lost <-chan struct{}) {
	t.Helper()
	select {
	case <-lost:
		require.Fail(t, "the lock is lost")
	default:
	}
}

// A watched is a memory store that counts the calls of Watch under way.
type watched struct {
	*memory.Store
	watches atomic.Int64
}

func (w *watched) Watch(ctx context.Context, q backend.WatchQuery) (uint64, error) {
	w.watches.Add(1)
	defer w.watches.Add(-1)
	return w.Store.Watch(ctx, q)
}

// Calls of Watch, of which each lock has one as long as it is held, leave room for
// others on the connection. A lock that has none is looked after all the same.
func TestWatchesLeaveRoom(t *testing.T) {
	store := &watched{Store: memory.New(backend.DefaultLimits())}
	c, _ := connect(t, store, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	index, err := c.Put(ctx, "k", nil, backend.PutOptions{})
	require.NoError(t, err)
	watch := backend.WatchQuery{Key: "k", After: index}
	var watching sync.WaitGroup
	defer watching.Wait()
	watches, end := context.WithCancel(ctx)
	defer end()
	var refused atomic.Int64
	for range maxCalls {
		watching.Go(func() {
			if _, err := c.Watch(watches, watch); backend.CodeOf(err) == backend.NotReady {
				refused.Add(1)
			}
		})
	}
	require.Eventually(t, func() bool { return store.watches.Load()+refused.Load() == maxCalls }, time.Minute, time.Millisecond)

	soon, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	l, err := c.Lock(soon, backend.LockOptions{Key: "lock"})
	require.NoError(t, err)
	_, err = c.Watch(soon, watch)
	require.Equal(t, backend.NotReady, backend.CodeOf(err))
	require.ErrorContains(t, err, "2048")
	require.NoError(t, c.Delete(soon, "lock", backend.DeleteOptions{}))
	select {
	case <-l.Lost():
	case <-soon.Done():
		require.Fail(t, "nobody looks after the lock")
	}

	end()
	watching.Wait()
	require.Eventually(t, func() bool {
		index, err := c.Watch(ctx, backend.WatchQuery{Key: "k"})
		return err == nil && index == watch.After
	}, time.Minute, time.Millisecond, "those that ended make no room")
}

// An odd plugin is an error and no crash of the host.
func TestSessionAnswerWithoutSession(t *testing.T) {
	c, _ := connect(t, sessionless{memory.New(backend.DefaultLimits())}, nil)
	_, err := c.CreateSession(t.Context(), backend.SessionOptions{})
	require.Equal(t, backend.UnknownOutcome, backend.CodeOf(err))
	_, err = c.RenewSession(t.Context(), "id")
	require.Equal(t, backend.UnknownOutcome, backend.CodeOf(err))
	for _, opts := range []backend.LockOptions{{Key: "k"}, {Key: "k", Session: "id"}} {
		_, err = c.Lock(t.Context(), opts)
		require.Equal(t, backend.NoQuorum, backend.CodeOf(err), "nothing was locked")
	}
	require.NoError(t, c.DestroySession(t.Context(), "id"))
	s, err := c.Session(t.Context(), "id")
	require.NoError(t, err)
	require.Nil(t, s)
}

type sessionless struct{ *memory.Store }

func (sessionless) CreateSession(context.Context, backend.SessionOptions) (*backend.Session, error) {
	return nil, nil
}

func (sessionless) RenewSession(context.Context, string) (*backend.Session, error) { return nil, nil }

package plugin

import (
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

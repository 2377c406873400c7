package memory

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

func TestManualClock(t *testing.T) {
	var clock ManualClock
	var rang []string
	ring := func(name string) func() { return func() { rang = append(rang, name) } }
	clock.AfterFunc(3*time.Second, ring("third"))
	clock.AfterFunc(time.Second, func() {
		ring("first")()
		clock.AfterFunc(time.Second, ring("second"))
	})
	clock.AfterFunc(3*time.Second, ring("fourth"))
	stop := clock.AfterFunc(2*time.Second, ring("never"))
	late := clock.AfterFunc(4*time.Second, ring("fifth"))
	require.True(t, stop())
	require.False(t, stop(), "it was stopped before")

	clock.Advance(time.Second - 1)
	require.Empty(t, rang)
	clock.Advance(2*time.Second + 1)
	require.Equal(t, []string{"first", "second", "third", "fourth"}, rang)
	clock.Advance(time.Second)
	require.Equal(t, "fifth", rang[4])
	require.False(t, late(), "it rang")
	clock.Advance(time.Hour)
	require.Len(t, rang, 5)
	require.Equal(t, time.Hour+4*time.Second, clock.Now())
}

func TestCloseInMachineTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(backend.DefaultLimits())
		_, err := s.CreateSession(t.Context(), backend.SessionOptions{TTL: backend.MinTTL})
		require.NoError(t, err)
		_, err = s.Put(t.Context(), "k", nil, backend.PutOptions{ExpiresAfter: backend.MaxTTL})
		require.NoError(t, err)
		alive := func() (sessions, alarms int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.sessions), len(s.alarms)
		}
		sessions, alarms := alive()
		require.Equal(t, 1, sessions)
		require.Equal(t, 2, alarms)
		<-time.After(backend.MinTTL + 1)
		sessions, alarms = alive()
		require.Zero(t, sessions)
		require.Equal(t, 1, alarms)
		require.NoError(t, s.Close())
		require.Empty(t, s.alarms)
	})
}

// What runs late finds that it is no longer wanted.
func TestCancelledAlarmDoesNothing(t *testing.T) {
	var rings []func()
	s := NewWithClock(backend.DefaultLimits(), clockFunc(func(_ time.Duration, f func()) func() bool {
		rings = append(rings, f)
		return func() bool { return false } // it is running already
	}))
	made, err := s.CreateSession(t.Context(), backend.SessionOptions{TTL: backend.MinTTL})
	require.NoError(t, err)
	_, err = s.RenewSession(t.Context(), made.ID)
	require.NoError(t, err)
	require.Len(t, rings, 2)
	rings[0]()
	require.Len(t, s.sessions, 1, "the end of the TTL from before the renewal")
	rings[1]()
	require.Empty(t, s.sessions)
	require.NoError(t, s.Close())
}

type clockFunc func(d time.Duration, f func()) func() bool

func (c clockFunc) AfterFunc(d time.Duration, f func()) func() bool { return c(d, f) }

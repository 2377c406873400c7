package locking

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// suspendable gives the fixture a keeper whose machine is suspended by the time that is
// added to what is returned.
func (f *fixture) suspendable() *atomic.Int64 {
	f.keeper.Close()
	var suspended atomic.Int64
	f.keeper = New(f.store, &machineClock{time.Now(), func() time.Duration { return time.Duration(suspended.Load()) }})
	return &suspended
}

// Go's timers stand still in suspend. A lock whose session ended meanwhile is known to be
// lost soon after, though no call to the store is answered.
func TestLostInSuspend(t *testing.T) {
	for _, own := range []bool{true, false} {
		inBubble(t, func(f *fixture) {
			suspended := f.suspendable()
			opts := backend.LockOptions{Key: "k", Own: backend.SessionOptions{TTL: time.Hour, LockDelay: backend.NoLockDelay}}
			if !own {
				opts = backend.LockOptions{Key: "k", Session: f.session(opts.Own)}
			}
			l := f.lock(opts)
			f.store.on("RenewSession", fails(backend.NoQuorum))
			f.store.on("DestroySession", fails(backend.NoQuorum))

			suspended.Add(int64(30 * time.Minute))
			f.pass(maxLate)
			require.False(t, isLost(l), "the session lives")
			suspended.Add(int64(30 * time.Minute))
			f.pass(maxLate)
			require.True(t, isLost(l))
			f.lost(l)
		})
	}
}

// A lock whose session was renewed after the suspension, before it could end, is held.
func TestHeldAfterSuspend(t *testing.T) {
	inBubble(t, func(f *fixture) {
		suspended := f.suspendable()
		l := f.lock(backend.LockOptions{Key: "k", Own: quick})
		for range 5 {
			suspended.Add(int64(ttl / 2))
			f.pass(ttl / 3)
			require.False(t, isLost(l))
		}
		require.NoError(t, l.Unlock(f.ctx))
		f.none()
	})
}

func TestMachineClockAfterFunc(t *testing.T) {
	inBubble(t, func(f *fixture) {
		c := newMachineClock()
		for _, d := range []time.Duration{0, maxLate / 2, maxLate, maxLate + 1, 10*maxLate + 3} {
			var rung atomic.Int64
			start := time.Now()
			stop := c.AfterFunc(d, func() { rung.Store(int64(time.Since(start)) + 1) })
			f.pass(d)
			require.Equal(t, int64(d)+1, rung.Load())
			require.False(t, stop(), "it has rung")

			stop = c.AfterFunc(d+1, func() { t.Error("it was stopped") })
			f.pass(d)
			require.True(t, stop())
			require.False(t, stop(), "again")
			f.pass(2 * maxLate)
		}
	})
}

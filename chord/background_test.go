package chord

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBackgroundKeepsItsGoroutines for a while, so many and no more, and none after it
// was closed.
func TestBackgroundKeepsItsGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackground()
		idle := func() int {
			synctest.Wait()
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.idle
		}
		require.NoError(t, b.each(3, func(int) error { <-time.After(time.Second); return nil }))
		require.Equal(t, 3, idle())
		b.run(func() { <-time.After(time.Second) })
		require.Equal(t, 2, idle(), "one of them does it")
		<-time.After(2 * time.Second)
		require.Equal(t, 3, idle())
		<-time.After(keptIdle)
		require.Zero(t, idle())

		var done atomic.Int64
		for range maxBackground {
			b.run(func() { <-time.After(time.Second); done.Add(1) })
		}
		began := time.Now()
		b.run(func() { <-time.After(time.Minute); done.Add(1) })
		require.Equal(t, time.Minute, time.Since(began), "there is too much, so the caller does it")
		require.EqualValues(t, maxBackground+1, done.Load())

		for range maxBackground {
			b.run(func() { <-time.After(time.Second); done.Add(1) })
		}
		<-time.After(2 * time.Second)
		require.Equal(t, maxIdle, idle())
		b.run(func() { <-time.After(time.Minute); done.Add(1) })
		b.close()
		require.EqualValues(t, 2*maxBackground+2, done.Load(), "it waits for what is under way")
		require.Zero(t, idle())
		b.run(func() { t.Error("done after it was closed") })
		require.NoError(t, b.each(3, func(int) error { done.Add(1); return nil }))
		require.EqualValues(t, 2*maxBackground+5, done.Load(), "the caller waits for it")
	})
}

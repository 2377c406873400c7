package locking

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// firstPause and lastPause bound how long a call waits before it tries again
	// what failed. Each pause is twice the one before, and up to half of it is left
	// out at random.
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
	// maxLate is how late an alarm rings at most after the machine was suspended.
	maxLate = time.Second
)

// Clock is the time that a Keeper lives in. The machine's goes on while the machine is
// suspended, on Linux. On other systems, and in a virtual machine whose host pauses it
// with all its clocks, it stands still: what was lost meanwhile is known only when the
// next renewal or news of the key says so.
type Clock interface {
	// Now is the time that has passed since some moment. It runs steadily and never
	// goes back.
	Now() time.Duration
	// AfterFunc calls f once d has passed, in any goroutine. stop keeps that from
	// happening and reports whether it did; it need not wait for f.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// machineClock is Go's monotonic clock, put forward by the time for which the machine
// was suspended: neither that clock nor Go's timers count it.
type machineClock struct {
	start time.Time
	// suspended is how long the machine has been suspended since some moment. It never
	// goes back.
	suspended func() time.Duration
}

func newMachineClock() *machineClock { return &machineClock{time.Now(), newSuspended()} }

func (c *machineClock) Now() time.Duration {
	suspended := c.suspended() // first: it may be short by the time until Now is known
	return suspended + time.Since(c.start)
}

func (c *machineClock) AfterFunc(d time.Duration, f func()) func() bool {
	if d <= maxLate {
		return time.AfterFunc(d, f).Stop
	}
	a := &alarm{clock: c, end: c.Now() + d, f: f}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = time.AfterFunc(maxLate, a.look)
	return a.stop
}

// An alarm looks every maxLate whether its time has come.
type alarm struct {
	clock *machineClock
	end   time.Duration
	f     func()

	mu    sync.Mutex
	timer *time.Timer
	// over is set when it rings or is stopped.
	over bool
}

func (a *alarm) look() {
	if a.rings() {
		a.f()
	}
}

func (a *alarm) rings() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return false
	}
	if left := a.end - a.clock.Now(); left > 0 {
		a.timer.Reset(min(left, maxLate))
		return false
	}
	a.over = true
	return true
}

func (a *alarm) stop() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	stopped := !a.over
	a.over = true
	a.timer.Stop()
	return stopped
}

// jittered returns half of d to all of it.
func jittered(d time.Duration) time.Duration { return d - rand.N(d/2) }

// A pause is the time between two attempts. It counts from before the first of
// the two, so that a slow attempt is not followed by a wait as well.
type pause struct {
	clock Clock
	next  time.Duration
	over  chan struct{}
	stop  func() bool
}

func newPause(clock Clock) *pause { return &pause{clock: clock, next: firstPause} }

// start begins the pause before the attempt after the next one.
func (p *pause) start() {
	p.end()
	over := make(chan struct{})
	p.over, p.stop = over, p.clock.AfterFunc(jittered(p.next), func() { close(over) })
}

// wait waits until the pause that was started is over, or until ctx is done. The
// next one is longer.
func (p *pause) wait(ctx context.Context) {
	p.next = min(2*p.next, lastPause)
	select {
	case <-p.over:
	case <-ctx.Done():
	}
}

// reset makes the next pause the first one again.
func (p *pause) reset() { p.next = firstPause }

// end lets go of the clock.
func (p *pause) end() {
	if p.stop != nil {
		p.stop()
	}
}

package locking

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// firstPause and lastPause bound how long a call waits before it tries again
	// what failed. Each pause is twice the one before, and up to half of it is left
	// out at random.
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// Clock is the time that a Keeper lives in. The machine's stands still while the
// machine is suspended, as a laptop or a paused virtual machine is: what was lost
// meanwhile is known only when the next renewal or news of the key says so.
type Clock interface {
	// Now is the time that has passed since some moment. It runs steadily and never
	// goes back.
	Now() time.Duration
	// AfterFunc calls f once d has passed, in any goroutine. stop keeps that from
	// happening and reports whether it did; it need not wait for f.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

type machineClock struct{ start time.Time }

func (c machineClock) Now() time.Duration { return time.Since(c.start) }

func (machineClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, f).Stop
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

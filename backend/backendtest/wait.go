package backendtest

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// settleTimeout is how long something may take that no promised time bounds:
	// for one owner to catch up, for a call that waits to notice.
	settleTimeout = 10 * time.Second
	// pollInterval is how often a case looks.
	pollInterval = 10 * time.Millisecond
)

// eventually asks until cond holds, for settleTimeout.
func (c *check) eventually(what string, cond func() bool) {
	c.Helper()
	require.True(c, c.poll(settleTimeout, cond), "not within %v: %s", settleTimeout, what)
}

// poll asks until cond holds, for d, and reports whether it did.
func (c *check) poll(d time.Duration, cond func() bool) bool {
	ticks := time.NewTicker(pollInterval)
	defer ticks.Stop()
	deadline := time.After(d)
	for !cond() {
		select {
		case <-ticks.C:
		case <-deadline:
			return cond()
		}
	}
	return true
}

// receive waits for a value, for settleTimeout.
func receive[T any](c *check, what string, ch <-chan T) T {
	c.Helper()
	timeout := time.NewTimer(settleTimeout)
	defer timeout.Stop()
	select {
	case v := <-ch:
		return v
	case <-timeout.C:
		c.Fatalf("not within %v: %s", settleTimeout, what)
		panic("unreachable")
	}
}

// isClosed reports whether ch is closed.
func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// pass lets d go by for the backend.
func (c *check) pass(d time.Duration) {
	c.Helper()
	if c.opts.Advance != nil {
		c.opts.Advance(d)
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
		c.Fatalf("the case takes longer than %v", caseTimeout)
	}
}

// due requires that cond, which should hold by now, holds within the patience of
// the options.
func (c *check) due(what string, cond func() bool) {
	c.Helper()
	if c.opts.Advance != nil {
		c.opts.Advance(c.opts.Patience)
		c.eventually(what, cond)
		return
	}
	require.True(c, c.poll(c.opts.Patience, cond), "not within %v of when it was due: %s", c.opts.Patience, what)
}

// A stopwatch measures the backend's time.
type stopwatch struct {
	c     *check
	begin time.Time
}

func (c *check) start() stopwatch { return stopwatch{c: c, begin: time.Now()} }

// before reports that less than d has gone by for certain. A backend's own time
// stands still except for pass.
func (s stopwatch) before(d time.Duration) bool {
	return s.c.opts.Advance != nil || time.Since(s.begin) < d
}

// looksAfterwards is how often a reader looks again at what has gone.
const looksAfterwards = 20

// vanishes requires of something that is to go after d that it does, and that once
// one look, each of which is repeated by two readers, has not found it, no later one
// does.
func (c *check) vanishes(d time.Duration, looks ...func() (there bool, err error)) {
	c.Helper()
	var gone atomic.Bool
	for _, look := range looks {
		there, err := look()
		require.NoError(c, err)
		if !there {
			gone.Store(true)
		}
	}
	looks = append(looks, looks...)
	due := make(chan struct{})
	c.parallel(len(looks)+1, func(w int) error {
		if w == len(looks) {
			defer close(due)
			if c.opts.Advance != nil {
				d += c.opts.Patience
			}
			c.pass(d)
			return nil
		}
		patience, overdue := settleTimeout, (<-chan time.Time)(nil)
		if c.opts.Advance == nil {
			patience = c.opts.Patience
		}
		for missed, due := 0, due; missed < looksAfterwards; {
			known := gone.Load()
			there, err := looks[w]()
			switch {
			case err != nil:
				return err
			case there && known:
				return fmt.Errorf("look %d finds it though another did not before", w)
			case !there:
				gone.Store(true)
				missed++
				continue
			}
			select {
			case <-due:
				due, overdue = nil, time.After(patience)
			case <-overdue:
				return fmt.Errorf("look %d still finds it %v after it was due to go", w, patience)
			case <-time.After(pollInterval):
			}
		}
		return nil
	})
}

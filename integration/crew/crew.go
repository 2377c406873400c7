// Package crew is what all that work at the members of a ring have in common:
// where they work, when they rest and end, and what went wrong.
package crew

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Target is something that a crew works with.
type Target struct {
	// Name stands for it in what is said: the member's name.
	Name    string
	Backend backend.Backend
}

// Crew is goroutines at work. It is safe for concurrent use.
type Crew struct {
	targets []Target
	begun   time.Time
	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu    sync.Mutex
	rests map[string]bool
	wrong []string
}

// New returns a crew in which nobody works yet. Stop ends it.
func New(targets ...Target) *Crew {
	c := &Crew{targets: targets, begun: time.Now(), rests: map[string]bool{}}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// Targets returns all targets, those at which the crew rests included.
func (c *Crew) Targets() []Target { return c.targets }

// Go lets f work in a goroutine of its own. It must return soon after Stop, which
// Pause and Stopped tell.
func (c *Crew) Go(f func()) { c.wg.Go(f) }

// Stop ends the crew and waits until nobody works any more.
func (c *Crew) Stop() {
	c.stop()
	c.wg.Wait()
}

// Stopped is closed when the crew is to end.
func (c *Crew) Stopped() <-chan struct{} { return c.ctx.Done() }

// Now is the time since the crew was made, on the monotonic clock.
func (c *Crew) Now() time.Duration { return time.Since(c.begun) }

// Pause waits; false: the crew is to end.
func (c *Crew) Pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return c.ctx.Err() == nil
	case <-c.ctx.Done():
		return false
	}
}

// Call returns the context of an operation that comes to its end although the
// crew is stopped.
func Call(timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), timeout)
}

// Wait returns the context of an operation that is broken off when the crew is to
// end.
func (c *Crew) Wait(timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.ctx, timeout)
}

// Rest lets the crew do nothing at a target, once what is under way there has
// ended, until Wake.
func (c *Crew) Rest(target string) { c.rest(target, true) }

// Wake lets the crew go on at a target.
func (c *Crew) Wake(target string) { c.rest(target, false) }

func (c *Crew) rest(target string, rests bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rests[target] = rests
}

// Resting reports whether the crew rests at a target.
func (c *Crew) Resting(target string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rests[target]
}

// Any draws one of the targets at which the crew works; false: there is none.
func (c *Crew) Any(r *rand.Rand) (Target, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var working []Target
	for _, t := range c.targets {
		if !c.rests[t.Name] {
			working = append(working, t)
		}
	}
	if len(working) == 0 {
		return Target{}, false
	}
	return working[r.IntN(len(working))], true
}

// WentWrong notes what must not happen and did.
func (c *Crew) WentWrong(format string, args ...any) {
	line := fmt.Sprintf("%.3f s: %s", c.Now().Seconds(), fmt.Sprintf(format, args...))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, line)
}

// Wrong returns what went wrong so far.
func (c *Crew) Wrong() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.wrong...)
}

// Nothing reports whether an operation that ended so changed nothing although
// nothing was wrong with it, by the contract's codes.
func Nothing(code backend.Code) bool {
	switch code {
	case backend.NoQuorum, backend.NotReady, backend.Closed:
		return true
	}
	return false
}

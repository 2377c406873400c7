package memory

import (
	"sync"
	"time"
)

// Clock is the time that a Store lives in.
type Clock interface {
	// AfterFunc calls f once d has passed, in any goroutine. stop keeps that from
	// happening and reports whether it did; it need not wait for f.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

type machineClock struct{}

func (machineClock) AfterFunc(d time.Duration, f func()) func() bool {
	return time.AfterFunc(d, f).Stop
}

// ManualClock is a Clock that stands still until somebody moves it ahead, so that
// tests need not wait. The zero value is ready for use.
type ManualClock struct {
	mu     sync.Mutex
	now    time.Duration
	alarms map[*manualAlarm]struct{}
	set    uint64
}

type manualAlarm struct {
	at  time.Duration
	set uint64 // orders alarms that are due at the same time
	f   func()
}

// Now is how far the clock has been moved.
func (c *ManualClock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc makes a later Advance call f.
func (c *ManualClock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set++
	a := &manualAlarm{at: c.now + d, set: c.set, f: f}
	if c.alarms == nil {
		c.alarms = map[*manualAlarm]struct{}{}
	}
	c.alarms[a] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, pending := c.alarms[a]
		delete(c.alarms, a)
		return pending
	}
}

// Advance moves the clock ahead by d. What is due by then has been done, each
// thing at its time, when it returns.
func (c *ManualClock) Advance(d time.Duration) {
	c.mu.Lock()
	end := c.now + d
	c.mu.Unlock()
	for {
		f := c.next(end)
		if f == nil {
			return
		}
		f()
	}
}

// next moves the clock to the first alarm that is due by end and takes it off,
// or to end when there is none.
func (c *ManualClock) next(end time.Duration) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var first *manualAlarm
	for a := range c.alarms {
		if a.at <= end && (first == nil || a.at < first.at || a.at == first.at && a.set < first.set) {
			first = a
		}
	}
	if first == nil {
		c.now = max(c.now, end)
		return nil
	}
	delete(c.alarms, first)
	c.now = max(c.now, first.at)
	return first.f
}

// An alarm is something that the store does later.
type alarm struct{ stop func() bool }

// after lets f run once d has passed, with mu held for writing, unless the alarm
// is cancelled before. The caller holds mu for writing.
func (s *Store) after(d time.Duration, f func()) *alarm {
	a := new(alarm)
	s.alarms[a] = struct{}{}
	s.ringing.Add(1)
	a.stop = s.clock.AfterFunc(d, func() {
		defer s.ringing.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, due := s.alarms[a]; due {
			delete(s.alarms, a)
			f()
		}
	})
	return a
}

// cancel keeps an alarm, which may be nil, from running. The caller holds mu for
// writing.
func (s *Store) cancel(a *alarm) {
	if a == nil {
		return
	}
	delete(s.alarms, a)
	if a.stop() {
		s.ringing.Done()
	}
}

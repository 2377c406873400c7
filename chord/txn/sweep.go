package txn

import (
	"slices"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

const (
	// maxLeftovers bounds the transactions of which a Sweeper knows since when they
	// are there. Others have to wait until some of these are gone.
	maxLeftovers = 1 << 16
	// maxBackoff bounds how often the wait is doubled before what could not be
	// finished is tried again.
	maxBackoff = 3
)

// Sweeper finishes transactions that nobody finishes. What it knows of them is
// apart from what the Coordinator knows of those that are in somebody's way. It is
// used by one goroutine.
type Sweeper struct {
	c *Coordinator

	mu        sync.Mutex
	leftovers map[ID]leftover
	pass      int
}

// leftover is a transaction that is not over.
type leftover struct {
	since  time.Duration // when it was first seen, or last tried
	failed int           // how often it was tried in vain
	pass   int           // in which it was last seen
}

// NewSweeper returns a sweeper that has seen nothing.
func NewSweeper(c *Coordinator) *Sweeper {
	return &Sweeper{c: c, leftovers: map[ID]leftover{}}
}

// Sweep takes in the IDs of statuses that exist, and brings each transaction to its
// end that this node has known for longer than the timeout, those first that it did
// not try yet. It begins with no further one once that takes longer than begin; the
// next call goes on. One that can not be finished is tried again after twice the
// time. Sweep returns the first error.
func (s *Sweeper) Sweep(r Registers, ids []ID, begin time.Duration) error {
	due := s.due(r.Now(), ids)
	var first error
	end := r.Now() + begin
	_ = r.Each(len(due), func(i int) error { // an error would keep it from the others
		if r.Now() >= end {
			return nil
		}
		if err := s.finish(r, due[i]); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			if first == nil {
				first = err
			}
		}
		return nil
	})
	return first
}

// Passed ends a pass through all statuses that exist: what it has not seen is gone.
func (s *Sweeper) Passed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, l := range s.leftovers {
		if l.pass != s.pass {
			delete(s.leftovers, id)
		}
	}
	s.pass++
}

// due notes what was seen, and returns what is to be finished.
func (s *Sweeper) due(now time.Duration, ids []ID) []ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []ID
	for _, id := range ids {
		l, known := s.leftovers[id]
		if !known {
			if len(s.leftovers) >= maxLeftovers {
				continue
			}
			l.since = now
		}
		l.pass = s.pass
		s.leftovers[id] = l
		if now-l.since >= s.c.cfg.Timeout<<min(l.failed, maxBackoff) {
			due = append(due, id)
		}
	}
	slices.SortStableFunc(due, func(a, b ID) int { return s.leftovers[a].failed - s.leftovers[b].failed })
	return due
}

// finish brings a transaction to its end.
func (s *Sweeper) finish(r Registers, id ID) error {
	st, err := status(r, id)
	if err == nil && st.State != register.Absent {
		_, err = s.c.finish(r, id, st.Keys)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// What fails must leave room for what does not.
	if err == nil || len(s.leftovers) > maxLeftovers/2 {
		delete(s.leftovers, id)
	} else {
		l := s.leftovers[id]
		l.since, l.failed = r.Now(), l.failed+1
		s.leftovers[id] = l
	}
	if err != nil {
		return unavailable(id.Key(), err)
	}
	return nil
}

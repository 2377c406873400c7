package chord

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// A listing under which keys never stop changing may never find a moment at which it
// knows all of them. So after some rounds it asks for quiet: the members hold back new
// changes of keys under its prefix for a moment, while those under way come to an end.
// Nothing depends on it: who does not keep quiet, or no longer does, is noticed as
// always. Writers have their turn: after a quiet time a member keeps none for twice as
// long as it was.

const (
	// quietAfter is after how many rounds a listing asks for quiet, or at once where it
	// is tried again. It does so for quietRounds times as long as the last round took.
	// Beyond quietAsks times its question, a round was a wait for a transaction and
	// does not count. All that a member keeps in one go is quietMost.
	quietAfter  = 2
	quietRounds = 3
	quietAsks   = 4
	quietLeast  = 10 * time.Millisecond
	quietMost   = time.Second
	// quietRest is how many times as long as a quiet time lasted writers are let
	// alone after it.
	quietRest = 2
)

// quietFor returns for how long to ask for quiet after a round, and its question.
func quietFor(round, asked time.Duration) time.Duration {
	return min(max(quietRounds*min(round, quietAsks*asked), quietLeast), quietMost)
}

// quiet is whether a node holds back new changes, and of which keys.
type quiet struct {
	kept atomic.Bool // it does

	mu     sync.Mutex
	prefix string
	began  time.Time
	until  time.Time
	timer  *time.Timer   // runs end
	over   chan struct{} // closed at the end
	rest   time.Time     // until when it does not
}

// ask keeps quiet about the keys under prefix for d from now, or goes on to. No time
// at all ends it.
func (q *quiet) ask(prefix string, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	d = min(d, quietMost)
	switch {
	case q.kept.Load():
		if prefix == q.prefix {
			q.until = now.Add(min(d, q.began.Add(quietMost).Sub(now)))
			q.timer.Reset(q.until.Sub(now))
		}
	case now.After(q.rest) && d > 0:
		q.prefix, q.began, q.until, q.over = prefix, now, now.Add(d), make(chan struct{})
		q.kept.Store(true)
		q.timer = time.AfterFunc(d, q.end)
	}
}

// end ends the quiet time if it is over.
func (q *quiet) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if !q.kept.Load() || now.Before(q.until) {
		return // it goes on, or is over already
	}
	q.kept.Store(false)
	close(q.over)
	q.rest = now.Add(quietRest * now.Sub(q.began))
}

// wait lets a change of a key begin, at the latest when ctx or the node ends.
func (q *quiet) wait(ctx context.Context, done <-chan struct{}, key string, c *register.Change) {
	if !q.kept.Load() {
		return
	}
	keys := begins(key, c)
	q.mu.Lock()
	over := q.over
	held := q.kept.Load() && slices.ContainsFunc(keys, func(key string) bool { return strings.HasPrefix(key, q.prefix) })
	q.mu.Unlock()
	if held {
		select {
		case <-over:
		case <-ctx.Done():
		case <-done:
		}
	}
}

// begins returns the keys of hosts that a change begins to change. A transaction begins
// with its status, and holds nothing before; what it does later is under way.
func begins(key string, c *register.Change) []string {
	switch {
	case c.Kind == register.Put && strings.HasPrefix(key, register.TxnPrefix):
		st, err := register.StatusOf(&register.Value{Live: true, Data: c.Data})
		if err != nil {
			return nil
		}
		return st.Keys
	case strings.HasPrefix(key, internalPrefix):
		return nil
	case c.Kind == register.Put || c.Kind == register.Delete || c.Kind == register.Pop:
		return []string{key}
	}
	return nil
}

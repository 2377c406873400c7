package session

import (
	"container/heap"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Lifetimes knows for how long a node has seen each register with a lifetime as it
// is. It forgets with the process, and then starts anew. It is used by one
// goroutine at a time.
type Lifetimes struct {
	step  time.Duration
	most  int
	known map[string]*life
	// queue are those that did not fail, failed the others.
	queue, failed queue
}

// maxBackoff bounds how often the time until another attempt is doubled.
const maxBackoff = 4

// life is a register with a lifetime.
type life struct {
	key   string
	index uint64
	// since is when that index was seen first, lasts its lifetime.
	since, lasts time.Duration
	// at is when to look at it next, place where it is in the queue.
	at    time.Duration
	place int
	// failed counts the attempts that did, since it had that index.
	failed int
}

// Due is a register whose lifetime is over.
type Due struct {
	Key string
	// Index is what it was seen with for its whole lifetime.
	Index uint64
}

// NewLifetimes returns an empty Lifetimes. step is how much longer each further
// owner of a key waits before it does what the owners before it did not; also the
// time between two attempts. It keeps up to most registers; what does not fit is
// known once there is room and it is seen again.
func NewLifetimes(step time.Duration, most int) *Lifetimes {
	return &Lifetimes{step: step, most: most, known: map[string]*life{}}
}

// Len returns how many registers are known.
func (l *Lifetimes) Len() int { return len(l.known) }

// Saw takes in a register as this node has it, which may be an old state of it. now
// is a clock of this node that runs steadily and is compared with itself only.
func (l *Lifetimes) Saw(now time.Duration, key string, v *register.Value) {
	k := l.known[key]
	switch {
	case !v.Live || v.Expires <= 0:
		if k != nil {
			l.forget(k)
		}
		return
	case k == nil && len(l.known) >= l.most:
		return
	case k == nil:
		k = &life{key: key}
		l.known[key] = k
		heap.Push(&l.queue, k)
	case k.index >= v.Index():
		return
	}
	l.move(k, 0)
	if k.index == 0 || holds(ruleSameIndex) {
		k.since = now
	}
	if !holds(ruleOwnClock) {
		k.since = time.Duration(v.Index()) * time.Microsecond
	}
	k.index, k.lasts = v.Index(), v.Expires
	k.at = k.end()
	heap.Fix(&l.queue, k.place)
}

// in returns the queue that a register is in.
func (l *Lifetimes) in(k *life) *queue {
	if k.failed > 0 {
		return &l.failed
	}
	return &l.queue
}

// move notes how often attempts failed.
func (l *Lifetimes) move(k *life, failed int) {
	heap.Remove(l.in(k), k.place)
	k.failed = failed
	heap.Push(l.in(k), k)
}

// Failed notes that an attempt to do what is due failed. Until the register is seen
// to have changed it is due again by Again, after steps that double.
func (l *Lifetimes) Failed(now time.Duration, key string) {
	if k := l.known[key]; k != nil {
		k.at = now + l.pause(k.failed+1)
		l.move(k, k.failed+1)
	}
}

// pause is the time until another attempt.
func (l *Lifetimes) pause(failed int) time.Duration { return l.step << min(failed, maxBackoff) }

// end is when the lifetime is over, though clocks run at different speeds.
func (k *life) end() time.Duration {
	if !holds(ruleSlack) {
		return k.since + k.lasts
	}
	return k.since + k.lasts + k.lasts/64
}

func (l *Lifetimes) forget(k *life) {
	delete(l.known, k.key)
	heap.Remove(l.in(k), k.place)
}

// Due returns registers whose lifetimes are over, the longest first; it looks at up
// to most. rank is the place of this node among the owners of a key that seem to be
// up, from 0, and negative if it is none of them: then the register is forgotten.
// What is due is due again a step later, until it is seen to have changed, or Failed.
func (l *Lifetimes) Due(now time.Duration, most int, rank func(key string) int) []Due {
	return l.due(&l.queue, now, most, rank)
}

// Again is Due for what Failed, so that it is in nobody's way.
func (l *Lifetimes) Again(now time.Duration, most int, rank func(key string) int) []Due {
	return l.due(&l.failed, now, most, rank)
}

func (l *Lifetimes) due(q *queue, now time.Duration, most int, rank func(key string) int) []Due {
	var due []Due
	for range most {
		if len(*q) == 0 || (*q)[0].at > now {
			break
		}
		k := (*q)[0]
		n := rank(k.key)
		if n < 0 {
			l.forget(k)
			continue
		}
		if k.at = k.end() + time.Duration(n)*l.step; k.at <= now {
			due = append(due, Due{k.key, k.index})
			k.at = now + l.pause(k.failed)
		}
		heap.Fix(q, k.place)
	}
	return due
}

// queue is a heap, the next to look at first.
type queue []*life

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}
func (q *queue) Push(x any) {
	k := x.(*life)
	k.place = len(*q)
	*q = append(*q, k)
}
func (q *queue) Pop() any {
	old := *q
	k := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return k
}

package txnsim

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// kernel is simulated time: events in the order of their times.
type kernel struct {
	now    time.Duration
	events events
	number int
	rng    *rand.Rand
}

type event struct {
	at     time.Duration
	number int
	do     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].number < e[j].number
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// after runs do when d has passed.
func (k *kernel) after(d time.Duration, do func()) {
	k.number++
	heap.Push(&k.events, event{k.now + d, k.number, do})
}

// run runs the events up to a time, or until done.
func (k *kernel) run(limit time.Duration, done func() bool) {
	for len(k.events) > 0 && k.events[0].at <= limit && !done() {
		e := heap.Pop(&k.events).(event)
		k.now = e.at
		e.do()
	}
}

// between returns a random duration from lo (included) to hi (excluded).
func (k *kernel) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(k.rng.Int64N(int64(hi-lo)))
}

// chance is true with probability p.
func (k *kernel) chance(p float64) bool { return k.rng.Float64() < p }

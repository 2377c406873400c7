// Package kernel is what the simulations run on: simulated time in one goroutine,
// with coroutines for code that blocks,
// chance from one seed, and runs of many seeds.
package kernel

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// Kernel is simulated time: events in the order of their times, those of one time
// in the order in which they were asked for.
type Kernel struct {
	// Now is the time of the event under way.
	Now time.Duration
	// Rand decides everything that is random.
	Rand *rand.Rand

	events  events
	number  int
	current *Routine
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

// After runs do when d has passed.
func (k *Kernel) After(d time.Duration, do func()) {
	k.number++
	heap.Push(&k.events, event{k.Now + d, k.number, do})
}

// Step runs the next event; false when there is none up to the limit.
func (k *Kernel) Step(limit time.Duration) bool {
	if len(k.events) == 0 || k.events[0].at > limit {
		return false
	}
	e := heap.Pop(&k.events).(event)
	k.Now = e.at
	e.do()
	return true
}

// Between returns a random duration from lo (included) to hi (excluded).
func (k *Kernel) Between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(k.Rand.Int64N(int64(hi-lo)))
}

// Chance is true with probability p.
func (k *Kernel) Chance(p float64) bool { return k.Rand.Float64() < p }

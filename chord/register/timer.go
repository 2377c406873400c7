package register

import (
	"math"
	"time"
)

// timer is one entry of a shard's timers. It knows its place, so that an end
// before its time costs O(log n) and leaves nothing behind.
type timer struct {
	at    time.Duration
	fire  func()
	place int // 1-based index in the heap; 0 when not set
}

// timers is a binary heap by time; equal times fire in no fixed but a
// deterministic order.
type timers []*timer

// set starts t, or moves it.
func (h *timers) set(t *timer, at time.Duration, fire func()) {
	h.stop(t)
	if at < 0 { // so far ahead that the sum ran over
		at = math.MaxInt64
	}
	t.at, t.fire = at, fire
	*h = append(*h, t)
	t.place = len(*h)
	h.up(t.place - 1)
}

// stop ends t; a timer that is not set is left alone.
func (h *timers) stop(t *timer) {
	if t.place == 0 {
		return
	}
	i, last := t.place-1, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	t.place = 0
	t.fire = nil
	if i < last {
		h.up(i)
		h.down(i)
	}
}

// pop takes the next timer that is due.
func (h *timers) pop(now time.Duration) func() {
	if len(*h) == 0 || (*h)[0].at > now {
		return nil
	}
	t := (*h)[0]
	fire := t.fire
	h.stop(t)
	return fire
}

func (h timers) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h timers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].at <= h[i].at {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h timers) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1].at < h[child].at {
			child++
		}
		if h[i].at <= h[child].at {
			return
		}
		h.swap(i, child)
		i = child
	}
}

package register

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestTimers holds the heap against a list.
func TestTimers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h timers
		all := make([]timer, 12)
		due := map[int]time.Duration{}
		var now time.Duration
		fired := -1
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			i := rapid.IntRange(0, len(all)-1).Draw(t, "timer")
			switch rapid.IntRange(0, 3).Draw(t, "do") {
			case 0, 1:
				at := time.Duration(rapid.IntRange(0, 50).Draw(t, "at"))
				h.set(&all[i], at, func() { fired = i })
				due[i] = at
			case 2:
				h.stop(&all[i])
				delete(due, i)
			case 3:
				now = time.Duration(rapid.IntRange(0, 50).Draw(t, "now"))
				for fire := h.pop(now); fire != nil; fire = h.pop(now) {
					fire()
					if due[fired] > now {
						t.Fatalf("fired %d at %v, due at %v", fired, now, due[fired])
					}
					for _, at := range due {
						if at < due[fired] {
							t.Fatalf("fired %v before %v", due[fired], at)
						}
					}
					delete(due, fired)
				}
				for i, at := range due {
					if at <= now {
						t.Fatalf("%d, due at %v, did not fire at %v", i, at, now)
					}
				}
			}
			if len(h) != len(due) {
				t.Fatalf("%d timers, %d due", len(h), len(due))
			}
			for i := range all {
				if _, set := due[i]; set != (all[i].place != 0) || set && h[all[i].place-1] != &all[i] {
					t.Fatalf("timer %d does not know its place %d", i, all[i].place)
				}
			}
			if len(h) > 0 && h[0].at != slices.MinFunc(h, func(a, b *timer) int { return int(a.at - b.at) }).at {
				t.Fatal("the first is not the next")
			}
		}
	})
}

package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// fenceOptions of a seed of TestFences: everything else happens besides.
func fenceOptions(n uint64) Options {
	o := Options{Seed: n, Duration: 6 * time.Second, Fences: true, Reshape: n%2 == 0, Repair: n%3 != 0, Forget: n%5 < 2, Learn: n%8 < 6}
	if n%7 == 0 {
		o.Hot, o.Duration = true, 2*time.Second
	}
	return o
}

// TestFences runs the ring with holders of locks that write with their fences, under
// every fault. A failure names its seed:
//
//	go test ./internal/sim -run TestFences -seed N -seeds 1
func TestFences(t *testing.T) {
	total := runSeeds(t, *seed, *seeds, fenceOptions)
	t.Logf("%d seeds: %+v", *seeds, total)
	if *seeds >= 100 && (total.Fences < 2*int(*seeds) || total.Settled < int(*seeds)/4 || total.Fenced < int(*seeds) || total.Refused < int(*seeds)/2) {
		t.Errorf("only %d fences, %d keys settled, %d writes fenced and %d Accepts refused", total.Fences, total.Settled, total.Fenced, total.Refused)
	}
	if total.Undecided*100 >= 3*max(int(*seeds), 100) {
		t.Errorf("the checker gave up on %d of %d seeds", total.Undecided, *seeds)
	}
}

// TestFencesCostNothing: a write without a fence needs the messages that it needed
// before there were any, one with a fence the same, and so does one that stands on a
// tagged value.
func TestFencesCostNothing(t *testing.T) {
	count := func(fences ...string) (counts []int) {
		s := &Script{Trace: true}
		s.Do("ring", []string{"members=3", "replicas=3"})
		for i, fence := range fences {
			args := []string{"a", fmt.Sprint(i + 1), "put", "k", fmt.Sprint(i + 10)}
			if fence != "" {
				args = append(args, "fence="+fence)
			}
			s.Do("tick", []string{"5ms"})
			s.Do("submit", args)
			out := s.Do("settle", nil)
			if !strings.Contains(out, "a answers") || !strings.Contains(out, ": done") {
				t.Fatalf("%v: %s", args, out)
			}
			counts = append(counts, strings.Count(out, "->"))
		}
		return counts
	}
	// A Prepare to two others, an Accept to them, and the answers; then Accepts alone.
	want := []int{8, 4, 4, 4}
	for _, fences := range [][]string{{"", "", "", ""}, {"1", "1", "1", "1"}, {"1", "", "2", "1"}, {"", "5", "", "6"}} {
		if got := count(fences...); !slices.Equal(got, want) {
			t.Errorf("writes with the fences %q take %v messages; want %v", fences, got, want)
		}
	}
}

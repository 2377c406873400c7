package sim

import (
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
	if *seeds >= 100 && (total.Fences < 3*int(*seeds) || total.Settled < int(*seeds) || total.Fenced < int(*seeds) || total.Refused < int(*seeds)) {
		t.Errorf("only %d fences, %d keys settled, %d writes fenced and %d Accepts refused", total.Fences, total.Settled, total.Fenced, total.Refused)
	}
	if total.Undecided*100 >= 3*max(int(*seeds), 100) {
		t.Errorf("the checker gave up on %d of %d seeds", total.Undecided, *seeds)
	}
}

package sim

import (
	"flag"
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/internal/kernel"
)

var (
	seeds = flag.Uint64("seeds", 500, "how many seeds TestSeeds runs")
	seed  = flag.Uint64("seed", 1, "the first seed of TestSeeds")
)

// TestSeeds runs the ring under every fault. A failure names its seed:
//
//	go test ./internal/sim -run TestSeeds -seed N -seeds 1
func TestSeeds(t *testing.T) {
	total := runSeeds(t, *seed, *seeds, options)
	t.Logf("%d seeds: %+v", *seeds, total)
	if total.Operations < int(*seeds)*50 {
		t.Errorf("only %d operations in %d seeds: the clients do not get through", total.Operations, *seeds)
	}
	if *seeds >= 100 && (total.Joint < int(*seeds) || total.Final < int(*seeds)/2 || total.Aborted*20 < int(*seeds)) {
		t.Errorf("only %d joint, %d final and %d aborted configurations: the ring does not change", total.Joint, total.Final, total.Aborted)
	}
	if *seeds >= 100 && (total.Repaired < int(*seeds) || total.Forgotten < int(*seeds)) {
		t.Errorf("only %d cells repaired and %d tombstones forgotten", total.Repaired, total.Forgotten)
	}
	if *seeds >= 100 && total.Learnt < int(*seeds) {
		t.Errorf("only %d cells learnt", total.Learnt)
	}
	if total.Undecided*100 >= 3*max(int(*seeds), 100) {
		t.Errorf("the checker gave up on %d of %d seeds", total.Undecided, *seeds)
	}
}

// options of a seed of TestSeeds; every third is hot, and in every second the ring
// changes. Most of those repair and forget, and some of the others.
func options(n uint64) Options {
	o := Options{Seed: n, Duration: 6 * time.Second, Reshape: n%2 == 0}
	o.Repair = o.Reshape && n%5 != 0 || n%7 == 0
	o.Forget = o.Reshape && n%11 != 0 || n%13 < 4
	o.Learn = n%8 < 6
	if n%3 == 0 {
		o.Hot, o.Duration = true, 2*time.Second
	}
	return o
}

// runSeeds runs seeds from first on, two at a time, and reports those that fail.
func runSeeds(t *testing.T, first, count uint64, options func(seed uint64) Options) (total Stats) {
	t.Helper()
	kernel.EachSeed(first, count, func(n uint64) (Stats, error) { return Run(options(n)) }, func(n uint64, stats Stats, err error) {
		total.Add(stats)
		if err != nil {
			t.Errorf("seed %d: %v", n, err)
		}
	})
	return total
}

// TestSameSeedSameRun: a seed reproduces a run to the last message.
func TestSameSeedSameRun(t *testing.T) {
	for _, n := range []uint64{3, 7, 11, 12, 13} {
		o := Options{Seed: n, Duration: 2 * time.Second, Reshape: n > 10}
		a, _ := Run(o)
		b, _ := Run(o)
		if a != b {
			t.Errorf("seed %d: %+v, then %+v", n, a, b)
		}
	}
}

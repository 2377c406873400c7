package sim

import (
	"flag"
	"testing"
	"time"
)

var (
	seeds = flag.Uint64("seeds", 300, "how many seeds TestSeeds runs")
	seed  = flag.Uint64("seed", 1, "the first seed of TestSeeds")
)

// TestSeeds runs the ring under every fault. A failure names its seed:
//
//	go test ./internal/sim -run TestSeeds -seed N -seeds 1
func TestSeeds(t *testing.T) {
	var total Stats
	for n := *seed; n < *seed+*seeds; n++ {
		stats, err := Run(Options{Seed: n, Duration: 5 * time.Second, Hot: n%3 == 0})
		total.Add(stats)
		if err != nil {
			t.Errorf("seed %d: %v", n, err)
		}
	}
	t.Logf("%d seeds: %+v", *seeds, total)
	if total.Operations < int(*seeds)*50 {
		t.Errorf("only %d operations in %d seeds: the clients do not get through", total.Operations, *seeds)
	}
}

// TestSameSeedSameRun: a seed reproduces a run to the last message.
func TestSameSeedSameRun(t *testing.T) {
	for _, n := range []uint64{3, 7, 11} {
		a, _ := Run(Options{Seed: n, Duration: 2 * time.Second})
		b, _ := Run(Options{Seed: n, Duration: 2 * time.Second})
		if a != b {
			t.Errorf("seed %d: %+v, then %+v", n, a, b)
		}
	}
}

package txnsim

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

func options(n uint64) Options { return Options{Seed: n, Duration: 3 * time.Second} }

// TestSeeds runs clients under every fault. A failure names its seed:
//
//	go test ./internal/txnsim -run TestSeeds -seed N -seeds 1
func TestSeeds(t *testing.T) {
	total := runSeeds(t, *seed, *seeds, Run, options)
	t.Logf("%d seeds: %+v", *seeds, total)
	if total.Operations < int(*seeds)*20 {
		t.Errorf("only %d operations in %d seeds: the clients do not get through", total.Operations, *seeds)
	}
	if *seeds >= 100 && (total.Deaths == 0 || total.Doubts == 0 || total.Nudges == 0 || total.Pushes == 0 || total.Orphans == 0 || total.Revalidations == 0) {
		t.Errorf("something never happened: %+v", total)
	}
	if total.Undecided*100 >= 3*max(int(*seeds), 100) {
		t.Errorf("the checker gave up on %d of %d seeds", total.Undecided, *seeds)
	}
}

// TestSessions runs clients with sessions, locks and keys that expire. A failure
// names its seed:
//
//	go test ./internal/txnsim -run TestSessions -seed N -seeds 1
func TestSessions(t *testing.T) {
	total := runSeeds(t, *seed, *seeds, RunSessions, options)
	t.Logf("%d seeds: %+v", *seeds, total)
	if *seeds >= 100 && (total.Locks < int(*seeds) || total.Expired < int(*seeds) || total.Released < int(*seeds) || total.Faded < int(*seeds)) {
		t.Errorf("something hardly ever happened: %+v", total)
	}
	if total.Undecided*100 >= 3*max(int(*seeds), 100) {
		t.Errorf("the checker gave up on %d of %d seeds", total.Undecided, *seeds)
	}
}

// runSeeds runs seeds from first on, two at a time, and reports those that fail.
func runSeeds(t *testing.T, first, count uint64, run func(Options) (Stats, error), options func(seed uint64) Options) (total Stats) {
	t.Helper()
	kernel.EachSeed(first, count, func(n uint64) (Stats, error) { return run(options(n)) }, func(n uint64, stats Stats, err error) {
		total.Add(stats)
		if err != nil {
			t.Errorf("seed %d: %v", n, err)
		}
	})
	return total
}

// TestSameSeedSameRun: a seed reproduces a run to the last call.
func TestSameSeedSameRun(t *testing.T) {
	for n := range uint64(5) {
		for name, run := range map[string]func(Options) (Stats, error){"Run": Run, "RunSessions": RunSessions} {
			a, _ := run(options(n))
			b, _ := run(options(n))
			if a != b {
				t.Errorf("%s, seed %d: %+v, then %+v", name, n, a, b)
			}
		}
	}
}

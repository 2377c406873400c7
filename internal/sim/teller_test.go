package sim

import (
	"testing"
	"time"
)

// transferOptions of a seed of TestTransfers.
func transferOptions(n uint64) Options {
	return Options{Seed: n, Duration: 5 * time.Second, Transfers: true, Reshape: n%2 == 0, Repair: n%3 != 0, Learn: n%8 < 6}
}

// TestTransfers runs transactions on the whole simulated ring, under every fault: no
// audit, at any node and time, sees money made or lost, or misses a transfer that was
// acknowledged before. A failure names its seed:
//
//	go test ./internal/sim -run TestTransfers -seed N -seeds 1
func TestTransfers(t *testing.T) {
	total := runSeeds(t, *seed, *seeds, transferOptions)
	t.Logf("%d seeds: %+v", *seeds, total)
	if *seeds >= 100 && (total.Transfers < 2*int(*seeds) || total.Audits < 4*int(*seeds)) {
		t.Errorf("only %d transfers and %d audits", total.Transfers, total.Audits)
	}
}

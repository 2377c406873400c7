package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/integration/bank"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

// TestFreezeCoordinators stops two of six with SIGSTOP in the midst of their
// transactions, for longer than these may last. The others go on as soon as that
// time is over; and when the two wake up, what they were at does no harm.
func TestFreezeCoordinators(t *testing.T) {
	t.Parallel()
	r := startRing(t, func(c *cluster.Config) { c.Members = 6 })
	t.Logf("seed %d", seed)
	b, err := bank.Open(r.ctx, bank.Config{Seed: seed, Tellers: 8, Think: 40 * time.Millisecond}, r.targets()...)
	r.must(err)
	b.Pause(2 * time.Second)
	frozen := r.Members[4:]
	for _, m := range frozen {
		r.must(m.Freeze())
		b.Rest(m.Name) // who waits for it waits until its time is over
	}
	b.Pause(maxLocked + 2*time.Second)
	for _, m := range frozen {
		r.must(m.Thaw())
		b.Wake(m.Name)
	}
	b.Pause(2 * time.Second)
	report := b.Stop()
	t.Log(report)
	require.Less(t, report.Pause, maxLocked)
	r.must(r.WaitAlive(r.ctx))
	r.must(report.Judge(r.ctx, r.targets()...))
}

package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

// TestPartition cuts the ring in two, two members here and three there: the
// three go on, the two answer nothing, and after the cut has healed they serve.
func TestPartition(t *testing.T) {
	r := startRing(t, func(c *cluster.Config) { c.Proxied = true })
	l := r.work()
	few, most := r.Members[:2], r.Members[2:]
	cut := l.Now()
	r.Network.Cut(few, most)

	// Longer than it takes either side to hold the other for dead.
	target := r.targets(few[0])[0].Backend
	ctx, cancel := context.WithTimeout(r.ctx, 4*time.Second)
	_, err := target.Get(ctx, "shared/0", backend.GetOptions{})
	cancel()
	require.ErrorIs(t, err, backend.ErrNoQuorum, "a read among two of five")
	e := new(backend.Error)
	require.True(t, errors.As(err, &e))
	require.Equal(t, []int{2, 5}, []int{e.Answered, e.Owners})
	for _, m := range few {
		r.must(m.WaitAlive(r.ctx, 2))
	}
	for _, m := range most {
		r.must(m.WaitAlive(r.ctx, 3))
	}
	l.Run(2 * time.Second)

	healed := l.Now()
	r.Network.Heal()
	for _, m := range r.Members {
		r.must(m.WaitAlive(r.ctx, 5))
	}
	t.Logf("all see each other %d ms after the cut has healed", (l.Now() - healed).Milliseconds())
	served := l.Now()
	l.Run(2 * time.Second)
	report := l.Stop()

	r.requireGap(report, maxGap, cut, healed, most...)
	for _, m := range few {
		// What was under way when the network was cut may still have ended well.
		if n := report.Writes(m.Name, cut+100*time.Millisecond, healed); n > 0 {
			t.Errorf("%d writes succeeded at %s, among two of five", n, m.Name)
		}
		if n := report.Writes(m.Name, served, report.Ended); n == 0 {
			t.Errorf("no write succeeded at %s after the cut had healed", m.Name)
		}
	}
	r.judge(report)
}

// TestIsolateOne cuts one member off, twice, as with a bad cable.
func TestIsolateOne(t *testing.T) {
	r := startRing(t, func(c *cluster.Config) { c.Proxied = true })
	l := r.work()
	cut := l.Now()
	for range 2 {
		r.Network.Cut(r.Members[:1])
		l.Run(3 * time.Second)
		r.Network.Heal()
		l.Run(2 * time.Second)
	}
	end := l.Now()
	report := l.Stop()
	r.requireGap(report, maxGap, cut, end, r.Members[1:]...)
	r.judge(report)
}

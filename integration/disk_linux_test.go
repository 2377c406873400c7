package integration

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

// TestFullDisk lets every write of one member to its disk fail: it must stop
// serving, say why, and acknowledge nothing any more; the others go on.
func TestFullDisk(t *testing.T) {
	r := startRing(t)
	l := r.work()
	m := r.Members[1]
	full := l.Now()
	r.must(m.FillDisk(0))
	r.must(cluster.Wait(r.ctx, "the member to stop serving", func(ctx context.Context) error {
		if !m.Running() {
			return nil
		}
		s, err := m.Status(ctx)
		if err == nil && s.State != "failed" {
			err = errors.New("it is " + s.State)
		}
		return err
	}))
	failed := l.Now()
	t.Logf("stopped serving %d ms after its disk was full", (failed - full).Milliseconds())
	r.must(cluster.Wait(r.ctx, "the member to say why", func(context.Context) error {
		if !m.Said("file too large") {
			return errors.New("its log does not say it")
		}
		return nil
	}))
	l.Run(3 * time.Second)
	end := l.Now()

	// With room on its disk it is what it was.
	t.Logf("its process runs: %v", m.Running())
	if m.Running() {
		r.must(m.Kill())
	}
	r.must(m.Restart(r.ctx))
	l.Run(time.Second)
	report := l.Stop()
	if n := report.Writes(m.Name, failed, end); n > 0 {
		t.Errorf("%d writes were acknowledged after the disk had failed", n)
	}
	others := append([]*cluster.Member{r.Members[0]}, r.Members[2:]...)
	r.requireGap(report, maxGap, full, end, others...)
	r.judge(report)
}

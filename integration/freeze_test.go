package integration

import (
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

// TestFreezeOne stops one of five with SIGSTOP for five seconds: its connections
// stay open, and nothing answers. When it goes on it must not answer from what
// it knew then.
func TestFreezeOne(t *testing.T) {
	r := startRing(t)
	l := r.work()
	frozen := l.Now()
	r.must(r.Members[1].Freeze())
	l.Run(5 * time.Second)
	thawed := l.Now()
	r.must(r.Members[1].Thaw())
	l.Run(2 * time.Second)
	report := l.Stop()
	others := append([]*cluster.Member{r.Members[0]}, r.Members[2:]...)
	r.requireGap(report, maxGap, frozen, thawed, others...)
	r.judge(report)
	if report.Writes("b", thawed, report.Ended) == 0 {
		t.Error("the thawed member did not go on")
	}
}

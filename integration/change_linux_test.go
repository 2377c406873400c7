package integration

import (
	"testing"

	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

// TestCutInTheMidstOfAChange cuts the network while a member joins, with the
// newcomer and another member on the smaller side: the others are not held up, and
// when the cut has healed all are in one ring.
func TestCutInTheMidstOfAChange(t *testing.T) {
	r := startRing(t, slowly(5, func(c *cluster.Config) { c.Proxied = true })...)
	keys := r.fill(heavyKeys, heavySize)
	l := r.work()
	joiner := r.Members[5]
	few, most := []*cluster.Member{r.Members[4], joiner}, r.Members[:4]
	r.midway(joiner)
	cut := l.Now()
	r.Network.Cut(few, most)
	_, err := cluster.WaitRing(r.ctx, most, few)
	r.must(err)
	over := l.Now()
	t.Logf("the greater part has a final ring %d ms after the cut", (over - cut).Milliseconds())
	r.Network.Heal()
	r.final(r.Members...)
	report := l.Stop()
	r.requireGap(report, maxGap, cut, over, most...)
	r.judgeAt(report, r.Members)
	r.requireFilled(keys, heavySize, joiner)
	r.verify()
}

// TestFullDiskOfANewcomer fills the disk of a member that joins: the change is
// undone, the others do not feel it, and with room on its disk it joins.
func TestFullDiskOfANewcomer(t *testing.T) {
	r := startRing(t, slowly(3)...)
	keys := r.fill(heavyKeys, heavySize)
	l := r.work()
	joiner := r.Members[3]
	r.midway(joiner)
	full := l.Now()
	r.must(joiner.FillDisk(0))
	r.final(r.Founders()...)
	over := l.Now()
	t.Logf("the change is undone %d ms after the disk was full", (over - full).Milliseconds())
	if joiner.Running() {
		r.must(joiner.Kill())
	}
	joiner.ExtraArgs = atOnce
	r.must(joiner.Start())
	r.final(r.Members[:4]...)
	report := l.Stop()
	r.requireGap(report, maxGap, full, over, r.Founders()...)
	r.judgeAt(report, r.Members[:4])
	r.requireFilled(keys, heavySize, joiner)
	r.verify()
}

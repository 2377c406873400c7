package sim

import (
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// faults breaks things at random until the workload ends, then mends them.
type faults struct {
	sim                       *Sim
	crash, cut, clocks, disks bool
	until                     time.Duration
}

func (f *faults) run() {
	k := f.sim.kernel
	if k.Now > f.until {
		f.mend()
		return
	}
	if f.crash && k.Chance(0.4) {
		f.crashOne()
	}
	if f.cut && k.Chance(0.3) {
		f.recut()
	}
	if f.clocks && k.Chance(0.2) {
		n := f.sim.nodes[k.Rand.IntN(len(f.sim.nodes))]
		n.skew += k.Between(-2*time.Second, 2*time.Second) // also backwards
	}
	if f.clocks && f.sim.register.MaxDrift == 0 && k.Chance(0.02) {
		f.sim.nodes[k.Rand.IntN(len(f.sim.nodes))].skew -= k.Between(0, time.Minute) // somebody set it wrong
	}
	if f.disks && f.sim.doomed > 0 && k.Chance(0.05) {
		f.breakDisk()
	}
	f.rumour()
	k.After(k.Between(f.sim.calm/4, f.sim.calm), f.run)
}

func (f *faults) crashOne() {
	k := f.sim.kernel
	n := f.sim.nodes[k.Rand.IntN(len(f.sim.nodes))]
	if !n.up {
		return
	}
	n.crash()
	f.sim.stats.Crashes++
	down := k.Between(time.Millisecond, 800*time.Millisecond)
	if k.Chance(0.3) {
		down = k.Between(0, 5*time.Millisecond)
	}
	k.After(down, func() {
		if !n.up && !n.dead() {
			n.start()
		}
	})
}

// breakDisk ends a member for good, if there is one to spare.
func (f *faults) breakDisk() {
	n := f.sim.nodes[f.sim.kernel.Rand.IntN(len(f.sim.nodes))]
	if n.disk == nil || n.disk.broken || !f.sim.remembered(n) {
		return
	}
	for _, c := range f.sim.proposed {
		if !f.sim.spares(c, n) {
			return
		}
	}
	n.disk.broken = true // the next Load fails
	f.sim.doomed--
	f.sim.stats.DeadDisks++
}

// recut heals all cuts, or draws a new line through the nodes; some links across
// it keep working, some one way only.
func (f *faults) recut() {
	k := f.sim.kernel
	clear(f.sim.network.cut)
	if k.Chance(0.5) {
		return
	}
	f.sim.stats.Cuts++
	side := k.Rand.Uint64()
	for i, a := range f.sim.nodes {
		for j, b := range f.sim.nodes {
			if side>>i&1 != side>>j&1 && k.Chance(0.8) {
				f.sim.network.cut[[2]ring.Node{a.id, b.id}] = true
			}
		}
	}
}

// rumour tells one node that another is gone or back, true or not: failure
// detection only ever orders whom to ask first.
func (f *faults) rumour() {
	k := f.sim.kernel
	a, b := f.sim.nodes[k.Rand.IntN(len(f.sim.nodes))], f.sim.nodes[k.Rand.IntN(len(f.sim.nodes))]
	if !a.up || a == b {
		return
	}
	up := b.up && !f.sim.network.cut[[2]ring.Node{a.id, b.id}]
	if k.Chance(0.1) {
		up = !up
	}
	id := b.id
	a.do(func(now register.Now) { a.shard.Reachable(now, id, up) })
}

// mend ends all faults and lets everybody know.
func (f *faults) mend() {
	clear(f.sim.network.cut)
	f.sim.network.loss, f.sim.network.late = 0, 0
	f.sim.stalls = 0.02
	for _, n := range f.sim.nodes {
		if f.sim.register.MaxDrift != 0 {
			n.skew = 0 // somebody set the clocks right
		}
		if n.dead() && n.up {
			n.crash() // it only had not noticed
		}
		if !n.up && !n.dead() {
			n.start()
		}
	}
	for _, a := range f.sim.nodes {
		for _, b := range f.sim.nodes {
			if a != b && a.up {
				id, up := b.id, b.up
				a.do(func(now register.Now) { a.shard.Reachable(now, id, up) })
			}
		}
	}
}

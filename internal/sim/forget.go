package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// forgetting lets members forget tombstones: at random, several at once, and also
// while the ring changes.
type forgetting struct {
	sim   *Sim
	pause time.Duration
	until time.Duration
}

func (f *forgetting) run() {
	k := f.sim.kernel
	if k.Now > f.until {
		return
	}
	if n := f.sim.nodes[k.Rand.IntN(len(f.sim.nodes))]; n.up && n.disk != nil {
		for _, key := range n.tombstones() {
			n.forget(key)
		}
	}
	k.After(k.Between(f.pause/4, f.pause), f.run)
}

// tombstones returns the keys of tombstones on the disk. The ring's own register
// is never forgotten.
func (n *node) tombstones() (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(n.disk.cells)) {
		if c := n.disk.cells[key]; key != ringKey && !c.Value.Live {
			keys = append(keys, key)
		}
	}
	return keys
}

// forget asks all owners of a key, by Old and by New, for the tombstone that this
// node has, gives it to those that miss it, and tells all to forget it once all
// have said that they hold it.
func (n *node) forget(key string) {
	s, boot := n.sim, n.boot
	cell, epoch, g := n.disk.cells[key], n.conf().Epoch, n.placement.Group(key)
	asker := n.id
	var held uint16
	enough := func() bool {
		if !holds(ruleForgetAll) {
			return g.Quorum(held)
		}
		return held == g.All()
	}
	told := false
	for i, o := range g.Owners() {
		s.network.deliver(asker, o, false, func(to *node) {
			to.hold(epoch, key, cell, func() {
				s.network.deliver(o, asker, false, func(n *node) {
					held |= 1 << i
					if n.boot != boot || told || !enough() {
						return
					}
					told = true
					for _, o := range g.Owners() {
						s.network.deliver(asker, o, false, func(to *node) { to.drop(epoch, key, cell.Accepted) })
					}
				})
			})
		})
	}
}

// hold calls yes when this node holds a tombstone, or has forgotten it. Else it
// adopts it first, if it may.
func (n *node) hold(epoch uint64, key string, cell register.Cell, yes func()) {
	holds := func() (ok bool) {
		n.do(func(register.Now) { ok = n.shard.Forgettable(epoch, key, cell.Accepted) })
		return ok && n.up
	}
	switch {
	case n.disk == nil:
	case holds():
		yes()
	case n.up && n.disk.cells[key].Accepted.Less(cell.Accepted):
		n.call(func(now register.Now, token uint64) { n.shard.Adopt(now, token, epoch, key, cell) }, func(res register.Result) {
			if n.up && res.Outcome == register.Done && holds() {
				yes()
			}
		})
	}
}

func (n *node) drop(epoch uint64, key string, ballot register.Ballot) {
	if n.disk == nil {
		return
	}
	n.call(func(now register.Now, token uint64) { n.shard.Forget(now, token, epoch, key, ballot) }, func(res register.Result) {
		if res.Outcome == register.Done {
			n.sim.stats.Forgotten++
		}
	})
}

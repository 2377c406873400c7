package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// repairing lets two members at a time compare what they both own, and adopt from
// each other what is newer there: at random, and also while the ring changes.
type repairing struct {
	sim   *Sim
	pause time.Duration
	until time.Duration
}

func (r *repairing) run() {
	k := r.sim.kernel
	if k.Now > r.until {
		return
	}
	a, b := r.sim.nodes[k.Rand.IntN(len(r.sim.nodes))], r.sim.nodes[k.Rand.IntN(len(r.sim.nodes))]
	if a != b && a.up && a.disk != nil && b.disk != nil {
		a.compare(b)
	}
	k.After(k.Between(r.pause/4, r.pause), r.run)
}

// compare sends another member the ballots of what both own. It answers with the
// cells that are newer there and the keys that are newer here.
func (n *node) compare(with *node) {
	s, epoch := n.sim, n.conf().Epoch
	asker, askerID, other := n.full, n.id, with.full
	ballots := map[string]register.Ballot{}
	for _, key := range n.shared(other) {
		ballots[key] = n.disk.cells[key].Accepted
	}
	entries := n.table()
	s.network.deliver(askerID, other.Node(), false, func(to *node) {
		to.know(entries, nil)
		if !to.up || to.conf().Epoch != epoch {
			return
		}
		var newer []keyCell
		for _, key := range to.shared(asker) {
			if c := to.disk.cells[key]; ballots[key].Less(c.Accepted) {
				newer = append(newer, keyCell{key, to.clean(c)})
			}
		}
		var wanted []string
		for _, key := range slices.Sorted(maps.Keys(ballots)) {
			if c := to.disk.cells[key]; c.Accepted.Less(ballots[key]) {
				wanted = append(wanted, key)
			}
		}
		theirs := to.table()
		s.network.deliver(other.Node(), askerID, false, func(n *node) {
			n.know(theirs, nil)
			n.take(epoch, newer)
			if !n.up || n.conf().Epoch != epoch {
				return
			}
			var cells []keyCell
			for _, key := range wanted {
				if c, ok := n.disk.cells[key]; ok {
					cells = append(cells, keyCell{key, n.clean(c)})
				}
			}
			s.network.deliver(askerID, other.Node(), false, func(to *node) { to.take(epoch, cells) })
		})
	})
}

// clean returns a cell as it is given to others.
func (n *node) clean(c register.Cell) register.Cell {
	n.shard.Clean(&c.Value)
	return c
}

// shared returns the keys on this node's disk that another member owns too.
func (n *node) shared(with ring.ID) (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(n.disk.cells)) {
		if n.placement.Owns(n.full, key) && n.placement.Owns(with, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// take adopts cells that were copied in an epoch.
func (n *node) take(epoch uint64, cells []keyCell) {
	for _, kc := range cells {
		if !n.up {
			return // its disk broke
		}
		n.call(func(now register.Now, token uint64) { n.shard.Adopt(now, token, epoch, kc.key, kc.cell) }, func(res register.Result) {
			if res.Outcome == register.Done {
				n.sim.stats.Repaired++
			}
		})
	}
}

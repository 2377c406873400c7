package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// syncer is a New member of a joint configuration that takes over what it will
// own: from each Old member the cells of those keys, until all but f of Old have
// given everything.
type syncer struct {
	given map[ring.ID]bool
	// bound is above all that those who gave have promised; what they promised
	// must be promised here too before the sync is done.
	bound   uint64
	raising bool
	done    bool
	// pages holds what each has given, where cells are compared before they are
	// taken (Options.Learn).
	pages map[ring.ID][]keyCell
}

// keyCell is what travels.
type keyCell struct {
	key  string
	cell register.Cell
}

func (n *node) startSync() {
	c := n.conf()
	if !c.New.Has(n.full) {
		return
	}
	if !holds(ruleSync) {
		n.sync.done = true
		return
	}
	n.sync.given = map[ring.ID]bool{}
	if c.Old.Has(n.full) {
		n.sync.given[n.full] = true
	}
	n.pull(c, n.boot)
}

// pull asks all that have not given yet, and comes back for those that are lost.
func (n *node) pull(c *ring.Configuration, boot int) {
	if !n.up || n.boot != boot || n.conf() != c || n.sync.done {
		return
	}
	n.settle() // also if it alone was Old, or could not raise before
	for _, m := range c.Old.Members {
		if n.sync.given[m.ID] {
			continue
		}
		asker, epoch := n.full, c.Epoch
		n.sim.network.deliver(n.id, m.ID.Node(), false, func(to *node) {
			cells, ok := to.give(asker, epoch)
			if !ok {
				return
			}
			bound, entries := to.shard.Bound(), to.table()
			n.sim.network.deliver(to.id, asker.Node(), false, func(n *node) {
				if holds(ruleFenceJoin) {
					n.know(entries, nil)
				}
				if n.up {
					n.adopt(m.ID, c, cells, bound)
				}
			})
		})
	}
	n.sim.kernel.After(n.sim.kernel.Between(30*time.Millisecond, 150*time.Millisecond), func() { n.pull(c, boot) })
}

// settle ends the sync when all but f of Old have given everything.
func (n *node) settle() {
	c := n.conf()
	missing := 0
	for _, m := range c.Old.Members {
		if !n.sync.given[m.ID] {
			missing++
		}
	}
	if missing > c.Old.Faults() || n.sync.raising || n.sync.done {
		return
	}
	n.sync.raising = true
	n.takeOver(c, func(all bool) {
		if n.sync.raising = all; all {
			n.raise(c)
		}
	})
}

func (n *node) raise(c *ring.Configuration) {
	n.call(func(now register.Now, token uint64) { n.shard.Raise(now, token, n.sync.bound) }, func(res register.Result) {
		if n.up && n.conf() == c {
			n.sync.raising, n.sync.done = false, res.Outcome == register.Done
		}
	})
}

// best is the highest cell of a key that was given, and who holds it.
type best struct {
	cell    register.Cell
	holders []ring.ID
}

// takeOver takes the highest of the cells that were given: as chosen, where a
// majority by Old holds one at that very ballot. done is told whether all are here.
func (n *node) takeOver(c *ring.Configuration, done func(all bool)) {
	found := map[string]*best{}
	for _, id := range sortedMembers(n.sync.pages) {
		for _, kc := range n.sync.pages[id] {
			b := found[kc.key]
			if b == nil || b.cell.Accepted.Less(kc.cell.Accepted) {
				b = &best{cell: kc.cell}
				found[kc.key] = b
			}
			if b.cell.Accepted == kc.cell.Accepted {
				b.holders = append(b.holders, id)
			}
		}
	}
	left := len(found) + 1
	all := true
	settled := func(res register.Result) {
		if !n.up || n.conf() != c {
			return
		}
		all = all && res.Outcome == register.Done
		if left--; left == 0 {
			done(all)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(found)) {
		b := found[key]
		take := n.shard.Adopt
		if n.held(key, b) || !holds(ruleLearnHeld) {
			take = n.shard.Learn
			n.sim.stats.Learnt++
		}
		n.call(func(now register.Now, token uint64) { take(now, token, c.Epoch, key, b.cell) }, settled)
		if !n.up {
			return // its disk broke
		}
	}
	settled(register.Result{Outcome: register.Done})
}

// held reports whether a majority of the owners by Old gave that cell.
func (n *node) held(key string, b *best) bool {
	g := n.placement.Group(key)
	var set uint16
	for _, id := range b.holders {
		if i := g.Index(id.Node()); i >= 0 {
			set |= 1 << i
		}
	}
	return g.Held(set)
}

func sortedMembers(m map[ring.ID][]keyCell) []ring.ID {
	return slices.SortedFunc(maps.Keys(m), ring.ID.Compare)
}

// give returns the cells, as they are on the disk, that a member is to own. A
// node gives nothing of an epoch that it has not entered.
func (n *node) give(to ring.ID, epoch uint64) (cells []keyCell, ok bool) {
	p := n.sim.placements[epoch]
	if n.conf().Epoch != epoch && holds(ruleFence) {
		return nil, false
	}
	for _, key := range slices.Sorted(maps.Keys(n.disk.cells)) {
		if p.OwnsNew(to, key) {
			cells = append(cells, keyCell{key, n.clean(n.disk.cells[key])})
		}
	}
	return cells, true
}

// adopt takes what one Old member has; it has given when all of it is durable
// here, or settled.
func (n *node) adopt(from ring.ID, c *ring.Configuration, cells []keyCell, bound uint64) {
	if n.conf() != c || n.sync.given == nil || n.sync.done {
		return // from before a restart, or late
	}
	if n.sim.learning {
		if n.sync.raising {
			return // the cells are being taken already
		}
		if n.sync.pages == nil {
			n.sync.pages = map[ring.ID][]keyCell{}
		}
		n.sync.pages[from], n.sync.given[from] = cells, true
		n.sync.bound = max(n.sync.bound, bound)
		n.settle()
		return
	}
	left := len(cells) + 1
	settled := func(res register.Result) {
		if !n.up || n.conf() != c || res.Outcome != register.Done {
			return
		}
		if left--; left == 0 {
			n.sync.given[from] = true
			n.sync.bound = max(n.sync.bound, bound)
			n.settle()
		}
	}
	for _, kc := range cells {
		n.call(func(now register.Now, token uint64) { n.shard.Adopt(now, token, c.Epoch, kc.key, kc.cell) }, func(res register.Result) {
			if n.sim.stats.Adopted++; res.Outcome != register.Done {
				n.sim.stats.Adopted--
			}
			settled(res)
		})
		if !n.up {
			return // its disk broke
		}
	}
	settled(register.Result{Outcome: register.Done})
}

package sim

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// ringKey is the register that holds the configuration; absent while it is that
// of epoch 1.
const ringKey = "\x00ring"

// driving changes the ring at random until the workload ends, then only ends
// what is under way. Any member drives, several at once.
type driving struct {
	sim   *Sim
	until time.Duration // no change begins later
	end   time.Duration // nothing happens later
}

func (d *driving) run() {
	k := d.sim.kernel
	if k.Now > d.end {
		return
	}
	n := d.sim.nodes[k.Rand.IntN(len(d.sim.nodes))]
	if n.up && n.disk != nil {
		d.drive(n)
	}
	if k.Now < d.until && k.Chance(0.05) {
		d.renew(d.sim.nodes[k.Rand.IntN(len(d.sim.nodes))])
	}
	pause := 50 * time.Millisecond
	if k.Now > d.until {
		pause = 400 * time.Millisecond
	}
	k.After(k.Between(pause/4, pause), d.run)
}

// gossip tells one node of another's epoch, for ever.
func (d *driving) gossip() {
	k := d.sim.kernel
	a, b := d.sim.nodes[k.Rand.IntN(len(d.sim.nodes))], d.sim.nodes[k.Rand.IntN(len(d.sim.nodes))]
	if a != b && a.up {
		from, epoch := a.id, a.conf().Epoch
		d.sim.network.deliver(a.id, b.id, false, func(b *node) {
			if b.conf().Epoch < epoch {
				b.askChain(from)
			}
		})
	}
	k.After(k.Between(20*time.Millisecond, 150*time.Millisecond), d.gossip)
}

// drive lets one member do the next step of a change.
func (d *driving) drive(n *node) {
	k, cur := d.sim.kernel, n.conf()
	if _, member := cur.Member(n.full); !member {
		return
	}
	switch {
	case !cur.Joint() && k.Now < d.until && k.Chance(0.5):
		next, err := cur.Begin(d.plan(cur))
		if err == nil && next != nil && d.survivable(next) {
			d.propose(n, cur, next)
		}
	case !cur.Joint():
		if k.Now > d.until || k.Chance(0.2) {
			d.propose(n, cur, nil) // somebody's change may have been chosen and then forgotten
		}
	case k.Now < d.until && k.Chance(0.06):
		d.undo(n, cur)
	default:
		d.finish(n, cur)
	}
}

// plan draws a change: up to two members come or go, and perhaps another number
// of copies.
func (d *driving) plan(cur *ring.Configuration) ring.Plan {
	k := d.sim.kernel
	var p ring.Plan
	for range 1 + k.Rand.IntN(2) {
		n := d.sim.nodes[k.Rand.IntN(len(d.sim.nodes))]
		switch {
		case n.disk == nil:
		case cur.New.Has(n.full):
			p.Remove = append(p.Remove, n.full)
		case !n.dead():
			p.Join = append(p.Join, n.member())
		}
	}
	if k.Chance(0.2) {
		p.Replicas = 1 + k.Rand.IntN(ring.MaxReplicas)
	}
	return p
}

func (n *node) member() ring.Member { return ring.Member{ID: n.full, Name: n.name, Tokens: 8} }

// survivable reports whether a configuration works in spite of the disks that
// are broken for good, and notes it: no disk may break that it could not spare.
func (d *driving) survivable(c *ring.Configuration) bool {
	if !d.sim.spares(c, nil) {
		return false
	}
	d.sim.proposed = append(d.sim.proposed, c)
	return true
}

// spares reports whether a configuration works without the dead, and one more.
func (s *Sim) spares(c *ring.Configuration, doomed *node) bool {
	for _, side := range c.Sides() {
		dead := 0
		for _, n := range s.nodes {
			if (n.dead() || n == doomed) && side.Has(n.full) {
				dead++
			}
		}
		if dead > side.Faults() {
			return false
		}
	}
	return true
}

// propose makes next the configuration, unless another one was chosen after cur.
func (d *driving) propose(n *node, cur, next *ring.Configuration) {
	timeout := d.sim.kernel.Between(200*time.Millisecond, 2*time.Second)
	n.read(ringKey, false, timeout, func(res register.Result) {
		if res.Outcome != register.Done || !n.up {
			return
		}
		chosen, err := d.sim.founded, error(nil)
		if res.Value.Live {
			if chosen, err = ring.DecodeConfiguration(res.Value.Data); err != nil {
				panic(err)
			}
		}
		switch {
		case chosen.Epoch > cur.Epoch:
			n.learn([]*ring.Configuration{chosen})
		case chosen.Epoch < cur.Epoch:
			d.sim.violate("node %s works by epoch %d, and its register says %d", n.name, cur.Epoch, chosen.Epoch)
		case next != nil:
			c := register.Change{Kind: register.Put, Data: next.Encode(), If: true, Index: res.Index}
			n.call(func(now register.Now, token uint64) {
				if cur.Joint() && !holds(ruleUndoOnly) {
					n.shard.SubmitByOld(now, token, ringKey, c, timeout)
				} else {
					n.shard.Submit(now, token, ringKey, c, timeout)
				}
			}, func(res register.Result) {
				if res.Outcome == register.Done && n.up && !d.sim.kernel.Chance(0.1) { // else: forgets it
					n.learn([]*ring.Configuration{next})
				}
			})
		}
	})
}

// undo goes back to Old, which the owners by Old may decide alone.
func (d *driving) undo(n *node, cur *ring.Configuration) {
	k := d.sim.kernel
	timeout := k.Between(200*time.Millisecond, 2*time.Second)
	back := cur.Finish(true)
	n.call(func(now register.Now, token uint64) {
		n.shard.SubmitByOld(now, token, ringKey, register.Change{Kind: register.Identity}, timeout)
	}, func(res register.Result) {
		if res.Outcome != register.Done || !n.up || !res.Value.Live {
			return
		}
		found, err := ring.DecodeConfiguration(res.Value.Data)
		if err != nil {
			panic(err)
		}
		switch {
		case bytes.Equal(found.Encode(), back.Encode()):
			n.learn([]*ring.Configuration{back})
		case found.Epoch == cur.Epoch:
			c := register.Change{Kind: register.Put, Data: back.Encode(), If: true, Index: res.Index}
			n.call(func(now register.Now, token uint64) { n.shard.SubmitByOld(now, token, ringKey, c, timeout) }, func(res register.Result) {
				if res.Outcome == register.Done && n.up && !k.Chance(0.1) { // else: forgets it
					n.learn([]*ring.Configuration{back})
				}
			})
		}
	})
}

// finish asks all how far they are, waits a little, and ends the joint
// configuration if that suffices.
func (d *driving) finish(n *node, cur *ring.Configuration) {
	s, boot := d.sim, n.boot
	p := ring.Progress{Entered: map[ring.ID]bool{}, Synced: map[ring.ID]bool{}}
	answer := func(id ring.ID, epoch uint64, synced bool) {
		p.Entered[id] = p.Entered[id] || epoch >= cur.Epoch
		p.Synced[id] = p.Synced[id] || epoch == cur.Epoch && synced
	}
	answer(n.full, n.conf().Epoch, n.sync.done)
	for _, m := range cur.All() {
		if m.ID == n.full {
			continue
		}
		asker := n.id
		s.network.deliver(asker, m.ID.Node(), false, func(to *node) {
			epoch, synced := to.conf().Epoch, to.sync.done
			s.network.deliver(to.id, asker, false, func(*node) { answer(m.ID, epoch, synced) })
		})
	}
	s.kernel.After(s.kernel.Between(20*time.Millisecond, 100*time.Millisecond), func() {
		if !n.up || n.boot != boot || n.conf() != cur {
			return
		}
		if ok, _ := cur.MayFinish(p); ok || !holds(ruleFence) {
			d.propose(n, cur, cur.Finish(false))
		}
	})
}

// renew wipes a node that is no member, and gives it a new identity.
func (d *driving) renew(n *node) {
	s := d.sim
	if n.disk == nil || n.dead() {
		return
	}
	last := n.disk.chain[len(n.disk.chain)-1]
	in := func(c *ring.Configuration) bool {
		_, member := c.Member(n.full)
		return member && c.Epoch >= last.Epoch
	}
	if in(last) || slices.ContainsFunc(s.proposed, in) || !s.remembered(n) {
		return
	}
	if n.up {
		n.crash()
	}
	delete(s.network.nodes, n.id)
	n.full = ring.NodeID(fmt.Appendf(nil, "%s renewed %d of %d", n.name, n.boot, s.seed))
	n.id = n.full.Node()
	n.disk = &disk{node: n, cells: map[string]register.Cell{}, fences: register.Fences{}, chain: []*ring.Configuration{last}}
	s.network.nodes[n.id] = n
	s.stats.Renewed++
	n.start()
}

// remembered reports whether the configurations that anybody has yet to go through
// are on the disks of others than n.
func (s *Sim) remembered(n *node) bool {
	has := map[uint64]bool{}
	newest := s.founded.Epoch
	for s.placements[newest+1] != nil {
		newest++
	}
	oldest := newest
	for _, m := range s.nodes {
		if m == n || m.disk == nil || m.disk.broken {
			continue
		}
		for _, c := range m.disk.chain {
			has[c.Epoch] = true
		}
		last := m.disk.chain[len(m.disk.chain)-1]
		if _, member := last.Member(m.full); member || len(m.disk.cells) > 0 { // else it may skip
			oldest = min(oldest, last.Epoch)
		}
	}
	for e := oldest; e <= newest; e++ {
		if !has[e] {
			return false
		}
	}
	return true
}

func (s *Sim) violate(format string, args ...any) {
	if s.violation == nil {
		s.violation = fmt.Errorf(format, args...)
	}
}

// count counts a configuration that was entered for the first time.
func (s *Sim) count(c *ring.Configuration) {
	before := s.placements[c.Epoch-1]
	switch {
	case before == nil:
	case c.Joint():
		s.stats.Joint++
	case before.Configuration().Joint() && slices.Equal(c.New.Members, before.Configuration().Old.Members) && c.New.Replicas == before.Configuration().Old.Replicas:
		s.stats.Aborted++
	default:
		s.stats.Final++
	}
}

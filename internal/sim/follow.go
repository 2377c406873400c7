package sim

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// This file is a node that goes through the configurations of its ring, one by
// one, in order. Entering one means: it is durable; then the shard works by it;
// then all that the shard accepted before is durable. Only then does the node say
// that it has entered, and before it goes on it drops what it does not own.

// follower is what a node keeps in memory for that.
type follower struct {
	known    map[uint64]*ring.Configuration // newer ones, by epoch
	entering bool
	purged   bool          // of what it does not own in its configuration
	asked    time.Duration // until then it does not ask for the chain again
}

func (n *node) conf() *ring.Configuration { return n.placement.Configuration() }

// placed returns the placement of a configuration that was chosen. All nodes
// must have been told the same.
func (s *Sim) placed(c *ring.Configuration) *ring.Placement {
	p := s.placements[c.Epoch]
	if p == nil {
		p = ring.NewPlacement(c)
		s.placements[c.Epoch] = p
		s.count(c)
	}
	if have := p.Configuration(); have != c && !bytes.Equal(have.Encode(), c.Encode()) && s.violation == nil {
		s.violation = fmt.Errorf("two configurations of epoch %d: %s and %s", c.Epoch, have.Encode(), c.Encode())
	}
	return p
}

// quorums returns the placement that a shard counts its quorums by.
func (s *Sim) quorums(p *ring.Placement) *ring.Placement {
	c := p.Configuration()
	if holds(ruleJoint) || !c.Joint() {
		return p
	}
	return ring.NewPlacement(&ring.Configuration{RingID: c.RingID, Epoch: c.Epoch, Level: c.Level, New: c.New})
}

// askChain asks a node that is ahead for what is between.
func (n *node) askChain(of ring.Node) {
	now := n.sim.kernel.Now
	if !n.up || !n.sim.reshape || n.chain.asked > now {
		return
	}
	n.chain.asked = now + 30*time.Millisecond
	after, from := n.conf().Epoch, n.id
	n.sim.network.deliver(from, of, false, func(to *node) {
		confs := to.after(after)
		n.sim.network.deliver(to.id, from, false, func(n *node) { n.learn(confs) })
	})
}

// after returns what this node has entered after an epoch, oldest first.
func (n *node) after(epoch uint64) []*ring.Configuration {
	if n.disk == nil {
		return []*ring.Configuration{n.conf()}
	}
	var confs []*ring.Configuration
	for _, c := range n.disk.chain {
		if c.Epoch > epoch && c.Epoch <= n.conf().Epoch {
			confs = append(confs, c)
		}
	}
	return confs
}

// learn takes configurations that were chosen.
func (n *node) learn(confs []*ring.Configuration) {
	for _, c := range confs {
		if c.Epoch > n.conf().Epoch {
			n.chain.known[c.Epoch] = c
		}
	}
	n.advance()
}

// advance begins to enter the next configuration, if it is there.
func (n *node) advance() {
	if n.disk == nil { // a client owns nothing that could be stale: it may skip
		for _, epoch := range slices.Sorted(maps.Keys(n.chain.known)) {
			c := n.chain.known[epoch]
			delete(n.chain.known, epoch)
			if epoch > n.conf().Epoch {
				n.reconfigure(c)
				n.placement = n.sim.placed(c)
			}
		}
		return
	}
	next := n.chain.known[n.conf().Epoch+1]
	if _, member := n.conf().Member(n.full); next == nil && !member && len(n.disk.cells) == 0 {
		// Neither does a member to be, or one that has dropped everything.
		for _, epoch := range slices.Sorted(maps.Keys(n.chain.known)) {
			if epoch > n.conf().Epoch {
				next = n.chain.known[epoch]
			}
		}
	}
	if n.chain.entering || !n.chain.purged || next == nil {
		return
	}
	n.chain.entering = true
	enter := func() {
		n.placement = n.sim.placed(next)
		n.entered()
	}
	flush := func() {
		n.reconfigure(next)
		if !n.up {
			return
		}
		if holds(ruleFlush) {
			n.disk.flush(enter)
		} else {
			enter()
		}
	}
	n.disk.install(next, func() { n.pause(flush) })
}

func (n *node) reconfigure(c *ring.Configuration) {
	p := n.sim.quorums(n.sim.placed(c))
	n.do(func(now register.Now) { n.shard.Reconfigure(now, p) })
}

// pause goes on after a moment, unless the node crashes.
func (n *node) pause(do func()) {
	k, boot := n.sim.kernel, n.boot
	d := k.Between(0, 2*time.Millisecond)
	if k.Chance(0.1) {
		d = k.Between(0, 300*time.Millisecond)
	}
	k.After(d, func() {
		if n.up && n.boot == boot {
			do()
		}
	})
}

// entered is called when a configuration is entered, also after a restart.
func (n *node) entered() {
	n.chain.entering = false
	n.chain.purged = true
	n.sync = syncer{}
	if n.disk == nil {
		return
	}
	if n.conf().Joint() { // everybody owns what he owned, and more
		n.startSync()
	} else if keys := n.foreign(); len(keys) > 0 && holds(rulePurge) {
		n.chain.purged = false
		n.pause(func() {
			n.call(func(now register.Now, token uint64) { n.shard.Drop(now, token, keys) }, func(res register.Result) {
				if n.up {
					n.chain.purged = true
					n.sim.stats.Dropped += len(keys)
					n.advance()
				}
			})
		})
	}
	n.advance()
}

// foreign returns the keys of cells that the node does not own.
func (n *node) foreign() (keys []string) {
	for _, key := range slices.Sorted(maps.Keys(n.disk.cells)) {
		if !n.placement.Owns(n.full, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

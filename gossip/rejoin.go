package gossip

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// maxCalls bounds the nodes that are called in one round.
	maxCalls = 4
	// maxCallsAlone is the same for a node that knows nobody alive.
	maxCallsAlone = 8
	// callTime is what a call takes, with room.
	callTime = time.Second
)

// rejoin calls seeds and members that are missed. memberlist never does: once
// both halves of a partition hold each other for dead and have forgotten to tell
// each other so, they stay apart for good. The first round comes at once.
func (g *Gossip) rejoin() {
	var first sync.Once
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-g.ctx.Done():
			return
		}
		g.mu.Lock()
		addrs, alone := g.missed()
		g.mu.Unlock()
		if len(addrs) > 0 {
			_, err := g.list.Join(addrs)
			switch {
			case g.ctx.Err() != nil:
				return
			case err != nil && alone && g.limits.allow("alone", time.Now()):
				g.log.Warn("knows no other node and could not reach any; goes on trying", "called", addrs, "error", explain(err))
			case err != nil:
				g.log.Trace("a missed node does not answer", "called", addrs, "error", err)
			}
		}
		first.Do(func() { close(g.called) })
		// Half of the interval to one and a half: halves that lost each other at
		// the same moment should not call at the same moment.
		t.Reset(g.interval/2 + rand.N(g.interval))
	}
}

// MissedWithin returns the time within which members that are alive call one of theirs
// that has come back at its address and knows nobody.
func (g *Gossip) MissedWithin() time.Duration { return 3*g.interval/2 + callTime }

// missed returns whom to call, at random, and whether nobody is alive: the
// seeds that are no living node's address, and the members that are gone: also one
// that left may return with an empty directory, and know nobody. A client that is gone
// is not missed; it will never return under its ID. It needs g.mu.
func (g *Gossip) missed() (addrs []string, alone bool) {
	if g.leaving {
		return nil, false
	}
	have := map[string]bool{g.self.GossipAddr: true}
	for _, e := range g.table.nodes {
		if !e.State.gone() {
			have[e.GossipAddr] = true
		}
	}
	alone = g.table.living() == 0
	add := func(addr string) {
		if !have[addr] {
			have[addr] = true
			addrs = append(addrs, addr)
		}
	}
	for _, s := range g.seeds {
		add(s)
	}
	for _, e := range g.table.nodes {
		if e.State.gone() && e.Role == RoleMember {
			add(e.GossipAddr)
		}
	}
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	most := maxCalls
	if alone {
		most = maxCallsAlone
	}
	return addrs[:min(most, len(addrs))], alone
}

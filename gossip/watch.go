package gossip

import (
	"math"
	"sync"
	"time"
)

// maxPings bounds the nodes that are pinged in one round.
const maxPings = 8

// watch pings the others and says Suspect of one that does not answer twice.
//
// memberlist has a suspect state too, and shares it among all nodes, but shows
// it to nobody: Node.State is only filled in for NotifyMerge. This one is each
// node's own, which is what it is for: whom to ask first. A round is one probe
// interval and maxPings nodes, so with more nodes it takes more rounds to see
// everybody; memberlist's own probing goes on beside it and decides who is dead.
//
// A node that UDP does not reach stays suspect even if TCP would reach it.
func (g *Gossip) watch() {
	t := time.NewTicker(g.profile.list.ProbeInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-g.ctx.Done():
			return
		}
		g.mu.Lock()
		due := g.table.due(maxPings, time.Now())
		g.table.trim(time.Now())
		g.mu.Unlock()
		var wg sync.WaitGroup
		for _, n := range due {
			wg.Go(func() { g.look(&n) })
		}
		wg.Go(func() {
			// It is reported on Conflict; Join returns it too.
			_ = g.faceRivals(math.MaxInt)
		})
		wg.Wait()
	}
}

// pingTwice pings a node, again if it does not answer: one packet may be lost.
func (g *Gossip) pingTwice(n *Node) bool {
	for range 2 {
		if g.ping(n) {
			return true
		}
	}
	return false
}

// look pings a node, again if it does not answer, and notes and returns the outcome.
func (g *Gossip) look(n *Node) bool {
	yes := g.pingTwice(n)
	if g.ctx.Err() == nil { // else it is not its fault
		g.answered(n, yes)
	}
	return yes
}

// OtherLife returns the life of a node's ID that the others have let in, if it is
// another one than n, at another address, and answers a ping now.
func (g *Gossip) OtherLife(n *Node) (Node, bool) {
	g.mu.Lock()
	e, ok := g.table.nodes[n.ID]
	ok = ok && e.State == Alive && !e.Returning && !e.sameLife(n) && e.GossipAddr != n.GossipAddr
	var other Node
	if ok {
		other = e.Node
	}
	g.mu.Unlock()
	return other, ok && g.look(&other)
}

// answered notes whether a node answered a ping, of ours or of memberlist's.
func (g *Gossip) answered(n *Node, yes bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.table.answered(n, yes, time.Now()) {
		g.tell(n.ID)
	}
}

// ping reports whether a node answers within the profile's probe timeout.
func (g *Gossip) ping(n *Node) bool {
	if g.ctx.Err() != nil {
		return false
	}
	addr, err := udpAddr(n.GossipAddr)
	if err != nil {
		return false
	}
	_, err = g.list.Ping(n.listName(), addr)
	return err == nil
}

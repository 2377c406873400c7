package gossip

import (
	"errors"
	"fmt"
	"net"
	"time"

	metrics "github.com/hashicorp/go-metrics/compat"
	"github.com/hashicorp/memberlist"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// hooks are what memberlist calls. Most of them hold memberlist's lock: they may
// take Gossip.mu, and must not call memberlist.
//
// The door has two leaves. NotifyMerge sees the whole list of the other side
// when one calls the other; it makes the call fail, with a reason. NotifyAlive
// sees each node that anybody names, at any time; it is the one that keeps rings
// apart, since nobody whom it refuses is ever passed on.
//
// A node without a ring lets anyone in, and the first node with a ring settles
// which one is its own (unless SetRing names another later). So a node cannot
// stand between two rings: it tells what it has settled for, and then the other
// ring refuses it.
type hooks struct{ g *Gossip }

// ErrRefused is wrapped by the error of Join when the door did not open: another
// ring, or something that is no node of ours.
var ErrRefused = errors.New("gossip refused")

// readPeer reads what memberlist knows of a node.
func readPeer(p *memberlist.Node) (Node, error) {
	n, err := decodeMeta(p.Meta)
	if err != nil {
		return n, err
	}
	n.GossipAddr = p.Address()
	if n.listName() != p.Name {
		return n, fmt.Errorf("the node calls itself %.80q and its meta says %q", p.Name, n.listName())
	}
	return n, nil
}

// NotifyAlive implements memberlist.AliveDelegate. An error keeps the node out.
func (h hooks) NotifyAlive(p *memberlist.Node) error {
	g := h.g
	if p.Name == g.listName {
		return nil // ourselves; a copy of us elsewhere goes to NotifyConflict
	}
	n, err := readPeer(p)
	if err != nil {
		return g.garbage(p, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ringsDiffer(&n) {
		g.partWith(n)
		return g.otherRing(&n)
	}
	if g.wire.isSevered(p.Name) && (n.RingID == "" || n.RingID != g.self.RingID) {
		// memberlist still has, and passes on, what it was before it changed rings.
		return fmt.Errorf("%w: %s went to another ring", ErrRefused, p.Name)
	}
	if err := g.rivalAtDoor(&n); err != nil {
		return err
	}
	if _, known := g.table.nodes[n.ID]; !known && g.table.living() >= MaxNodes {
		if g.limits.allow("full", time.Now()) {
			g.log.Error("refused a node: there are too many", "limit", MaxNodes, "name", n.Name, "addr", n.GossipAddr)
		}
		return fmt.Errorf("%w: more than %d nodes", ErrRefused, MaxNodes)
	}
	g.adopt(&n)
	g.wire.restore(n.GossipAddr)
	return nil
}

// NotifyMerge implements memberlist.MergeDelegate. An error ends the call.
func (h hooks) NotifyMerge(peers []*memberlist.Node) error {
	g := h.g
	g.mu.Lock()
	defer g.mu.Unlock()
	var ours, theirs *Node
	for _, p := range peers {
		if p.Name == g.listName || p.State == memberlist.StateDead || p.State == memberlist.StateLeft {
			continue
		}
		n, err := readPeer(p)
		if err != nil {
			if len(peers) == 1 {
				return g.garbage(p, err)
			}
			continue // NotifyAlive will refuse that one
		}
		if g.ringsDiffer(&n) { // what names are taken there is nobody's business here
			theirs = &n
			g.partWith(n)
			continue
		}
		if err := g.rivalAtDoor(&n); err != nil {
			if conflict := (*ConflictError)(nil); errors.As(err, &conflict) && p.State == memberlist.StateAlive {
				return err // nobody will let us in
			}
			continue // NotifyAlive will refuse that one
		}
		switch {
		case n.RingID != "" && g.self.RingID == "" && ours != nil && ours.RingID != n.RingID:
			err := fmt.Errorf("%w: the other side knows two rings, %s (%s) and %s (%s)", ErrRefused, ours.RingID, ours.GossipAddr, n.RingID, n.GossipAddr)
			if g.limits.allow("two rings", time.Now()) {
				g.log.Warn("refused a call", "error", err)
			}
			return err
		case n.RingID != "":
			ours = &n
		}
	}
	// One who has just changed rings may still know somebody of its last one.
	if theirs != nil && ours == nil {
		return g.otherRing(theirs)
	}
	return nil
}

// ringsDiffer reports whether n is of a ring that is not ours. It needs g.mu.
func (g *Gossip) ringsDiffer(n *Node) bool {
	return g.self.RingID != "" && n.RingID != "" && g.self.RingID != n.RingID
}

// otherRing logs, once a minute for each ring, and returns that n is of another
// ring. It needs g.mu.
func (g *Gossip) otherRing(n *Node) error {
	metrics.IncrCounterWithLabels([]string{"gossip", "refused", "ring"}, 1, g.labels)
	if g.limits.allow("ring "+string(n.RingID), time.Now()) {
		g.log.Warn("refused a node of another ring; rings never merge, so look at the seeds of both",
			"ring", g.self.RingID, "addr", g.self.GossipAddr, "name", g.self.Name,
			"other_ring", n.RingID, "other_addr", n.GossipAddr, "other_name", n.Name)
	}
	return fmt.Errorf("%w: this node, %s at %s, is of ring %s; %s at %s is of ring %s",
		ErrRefused, g.self.Name, g.self.GossipAddr, g.self.RingID, n.Name, n.GossipAddr, n.RingID)
}

// garbage logs, once a minute for each address, and returns that p is no node of ours.
func (g *Gossip) garbage(p *memberlist.Node, err error) error {
	metrics.IncrCounterWithLabels([]string{"gossip", "refused", "meta"}, 1, g.labels)
	if g.limits.allow("meta "+p.Address(), time.Now()) {
		g.log.Warn("refused a node that is none of ours or of a version that this build cannot read", "addr", p.Address(), "error", err)
	}
	return fmt.Errorf("%w: node at %s: %w", ErrRefused, p.Address(), err)
}

// adopt settles for the ring of n if this node has none. It needs g.mu.
func (g *Gossip) adopt(n *Node) {
	if g.self.RingID != "" || n.RingID == "" {
		return
	}
	g.log.Info("heard of a ring", "ring", n.RingID, "from", n.Name, "addr", n.GossipAddr)
	g.enter(n.RingID, 0)
}

// enter makes id the ring of this node; spread does the rest. It needs g.mu.
func (g *Gossip) enter(id ring.RingID, epoch uint64) {
	g.moved = g.moved || g.self.RingID != id
	g.self.RingID, g.self.Epoch = id, epoch
	g.announce()
}

// move tells everybody directly that this node is now of a ring, and then parts
// with those of another. Gossip alone would not do: those who refuse this node
// do not pass its news on to each other.
func (g *Gossip) move() {
	g.mu.Lock()
	moved := g.moved
	g.moved = false
	nodes := g.table.list()
	msg, err := encodeNotice(&g.self)
	g.mu.Unlock()
	if !moved || err != nil {
		return // SetRing and adopt have checked what is encoded
	}
	g.sendAll(nodes, msg)
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.table.nodes {
		if g.ringsDiffer(&e.Node) {
			g.partWith(e.Node)
		}
	}
}

// hearNotice parts with a node that says it is now of another ring.
func (g *Gossip) hearNotice(n Node) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e, ok := g.table.nodes[n.ID]; ok && e.sameLife(&n) && g.ringsDiffer(&n) {
		n.GossipAddr = e.GossipAddr
		_ = g.otherRing(&n) // logs it; there is nobody to return it to
		g.partWith(n)
	}
}

// AckPayload implements memberlist.PingDelegate: each answer to memberlist's
// probes says which ring the node is of now. So one that changed rings is found
// out within a round of probes, even by a node that it does not know.
func (h hooks) AckPayload() []byte {
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	return []byte(h.g.self.RingID)
}

// NotifyPingComplete implements memberlist.PingDelegate.
func (h hooks) NotifyPingComplete(p *memberlist.Node, _ time.Duration, payload []byte) {
	n, err := readPeer(p)
	if err != nil {
		return // NotifyAlive refused it, and said so
	}
	h.g.answered(&n, true)
	if id := ring.RingID(payload); isRingID(id) {
		n.RingID = id
		h.g.hearNotice(n)
	}
}

// sendAll sends msg to each living node, once; it may get lost.
func (g *Gossip) sendAll(nodes []Node, msg []byte) {
	for _, n := range nodes {
		if !n.State.gone() && g.ctx.Err() == nil {
			_ = g.list.SendToAddress(memberlist.Address{Addr: n.GossipAddr, Name: n.listName()}, msg)
		}
	}
}

// partWith forgets a node that has gone to another ring, or that we have left
// behind, and sends it nothing until it has forgotten us. It needs g.mu.
func (g *Gossip) partWith(n Node) {
	e, ok := g.table.nodes[n.ID]
	if !ok || !e.sameLife(&n) {
		return // it was never let in
	}
	g.wire.sever(e.listName(), e.GossipAddr, time.Now().Add(g.profile.sever))
	if left, ok := g.table.depart(n.ID); ok {
		g.living.Store(int64(g.table.living()))
		g.events.add(left)
	}
}

// NotifyJoin implements memberlist.EventDelegate.
func (h hooks) NotifyJoin(p *memberlist.Node) { h.g.heard(p) }

// NotifyUpdate implements memberlist.EventDelegate.
func (h hooks) NotifyUpdate(p *memberlist.Node) { h.g.heard(p) }

// heard notes what a node that NotifyAlive let in says of itself.
func (g *Gossip) heard(p *memberlist.Node) {
	if p.Name == g.listName {
		return
	}
	n, err := readPeer(p)
	if err != nil {
		return // NotifyAlive refused it, and said so
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ringsDiffer(&n) {
		return
	}
	if g.table.set(n, time.Now()) {
		g.tell(n.ID)
	}
}

// NotifyLeave implements memberlist.EventDelegate.
func (h hooks) NotifyLeave(p *memberlist.Node) {
	n, err := readPeer(p)
	if err != nil {
		return
	}
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	now := time.Now()
	if h.g.table.end(&n, now) {
		h.g.tell(n.ID)
		h.g.table.trim(now)
	}
}

// tell passes on the state of a node and keeps the count of the living. It needs g.mu.
func (g *Gossip) tell(id ring.ID) {
	g.living.Store(int64(g.table.living()))
	if e, ok := g.table.nodes[id]; ok {
		g.events.add(e.Node)
	}
}

// NodeMeta implements memberlist.Delegate.
func (h hooks) NodeMeta(limit int) []byte {
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	b, err := encodeMeta(&h.g.self)
	if err != nil || len(b) > limit {
		// change checks every change, and TestMetaFits the limit.
		panic(fmt.Sprintf("gossip: meta of %d bytes, limit %d: %v", len(b), limit, err))
	}
	return b
}

// udpAddr returns the address of a node for memberlist.Ping.
func udpAddr(addr string) (*net.UDPAddr, error) {
	a, err := resolve("peer's", addr)
	if err != nil {
		return nil, err
	}
	return &net.UDPAddr{IP: a.ip, Port: a.port}, nil
}

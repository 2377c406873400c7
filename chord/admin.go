package chord

import (
	"context"
	"errors"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/gossip"
)

var _ backend.Admin = (*Node)(nil)

// Status implements backend.Admin.
func (n *Node) Status(ctx context.Context) (*backend.Status, error) {
	n.mu.Lock()
	s := &backend.Status{
		Name: n.cfg.Name, ID: n.id.String(), Version: n.cfg.Version, Role: string(n.cfg.Role), State: "serving", Reason: n.reason,
		UptimeSeconds: n.mono().Seconds(), HTTPAddr: n.cfg.HTTPAddr, DataDir: n.cfg.DataDir,
		GossipAddr: n.GossipAddr(), MeshAddr: n.mesh.Advertised(), PeersConnected: len(n.mesh.RoutingTable()),
	}
	failed := n.failed
	n.mu.Unlock()
	st := n.ring.Load()
	switch {
	case n.closed.Load():
		s.State = "stopping"
	case failed != nil:
		s.State = "failed"
	case st == nil:
		s.State = "starting"
	}
	if st != nil && !st.member && n.cfg.Role == RoleMember && s.Reason == "" {
		s.Reason = "serves as a client until it has joined the ring"
		if n.reshaper.leaving() {
			s.Reason = "has left the ring and serves as a client until it is stopped"
		}
	}
	s.Change = n.reshaper.waits()
	if st != nil {
		conf := st.placement.Configuration()
		s.RingID, s.Epoch, s.Members = string(conf.RingID), conf.Epoch, len(conf.New.Members)
		for _, m := range conf.New.Members {
			if m.ID == n.id && failed == nil || m.ID != n.id && n.peers.alive(m.ID.Node()) {
				s.Alive++
			}
		}
		s.Quorum = failed == nil && s.Members-s.Alive <= conf.New.Faults()
	}
	if n.store != nil && failed == nil {
		if stats, err := n.store.Stats(); err == nil {
			s.Keys, s.DiskBytes = stats.Cells, stats.DiskBytes
		}
	}
	if n.store != nil {
		s.Repair = n.repairs.status()
	}
	return s, nil
}

// Members implements backend.Admin.
func (n *Node) Members(ctx context.Context) ([]backend.Member, error) {
	nodes := n.gossip.Members()
	members := make([]backend.Member, len(nodes))
	for i, g := range nodes {
		members[i] = backend.Member{
			Name: g.Name, ID: g.ID.String(), Role: g.Role, State: g.State.String(),
			GossipAddr: g.GossipAddr, MeshAddr: g.MeshAddr, HTTPAddr: g.HTTPAddr, Version: g.Version,
		}
	}
	return members, nil
}

// memberStates is what gossip believes of each node.
type memberStates map[ring.ID]gossip.State

func (n *Node) states() memberStates {
	states := memberStates{}
	for _, g := range n.gossip.Members() {
		states[g.ID] = g.State
	}
	return states
}

func (s memberStates) of(id ring.ID) string {
	if state, ok := s[id]; ok {
		return state.String()
	}
	return "unknown"
}

// inspectTimeout bounds the question to one owner.
const inspectTimeout = 2 * time.Second

// Locate implements backend.Admin.
func (n *Node) Locate(ctx context.Context, key string) (*backend.Location, error) {
	if err := n.limits.CheckKey(key); err != nil {
		return nil, err
	}
	st, err := n.serving(ctx, key)
	if err != nil {
		return nil, err
	}
	loc := &backend.Location{Key: key}
	for _, p := range ring.Hashes(key) {
		loc.Points = append(loc.Points, p.Hex())
	}
	owners := st.placement.Owners(key)
	loc.Owners = make([]backend.OwnerCopy, len(owners))
	states := n.states()
	done := make(chan struct{})
	for i, m := range owners {
		go func() {
			loc.Owners[i] = n.inspect(ctx, key, m, states.of(m.ID))
			done <- struct{}{}
		}()
	}
	for range owners {
		<-done
	}
	return loc, nil
}

// inspect asks one owner what it holds.
func (n *Node) inspect(ctx context.Context, key string, m ring.Member, state string) backend.OwnerCopy {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	c := backend.OwnerCopy{Name: m.Name, ID: m.ID.String(), State: state}
	reply := &inspectReply{}
	var err error
	if m.ID == n.id {
		reply, err = n.onInspect(ctx, key)
	} else {
		err = n.mesh.Call(ctx, m.ID.Node(), callInspect, key, reply)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		c.Error = "did not answer in time"
	case err != nil:
		c.Error = err.Error()
	default:
		c.Ballot, c.Index, c.Live = reply.Ballot, reply.Index, reply.Live
	}
	return c
}

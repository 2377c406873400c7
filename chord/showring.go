package chord

import (
	"context"
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Ring implements backend.Admin. While the ring changes it asks the members how
// far they are.
func (n *Node) Ring(ctx context.Context) (*backend.Ring, error) {
	st, err := n.serving(ctx, "")
	if err != nil {
		return nil, err
	}
	conf := st.placement.Configuration()
	r := &backend.Ring{RingID: string(conf.RingID), Epoch: conf.Epoch, Joint: conf.Joint(), Replicas: conf.New.Replicas, Level: conf.Level, Change: n.reshaper.waits()}
	states := n.states()
	shares := st.placement.Shares()
	for i, m := range conf.New.Members {
		r.Members = append(r.Members, ringMember(m, states, shares[i]))
	}
	if !conf.Joint() {
		return r, nil
	}
	for _, m := range conf.Old.Members {
		if !inSide(&conf.New, m.ID) {
			leaves := ringMember(m, states, 0)
			leaves.Change = "leaves"
			r.Members = append(r.Members, leaves)
		}
	}
	replies := n.askProgress(ctx, conf)
	for i := range r.Members {
		m := &r.Members[i]
		member := memberNamed(conf, m.Name, m.ID)
		if m.Change == "" && !inSide(conf.Old, member.ID) {
			m.Change = "joins"
		}
		if reply := replies[member.ID]; reply != nil && reply.Epoch >= conf.Epoch && m.Change != "leaves" {
			m.Synced = reply.Synced || reply.Epoch > conf.Epoch
			m.Sync = &reply.Sync
		}
	}
	slices.SortFunc(r.Members, func(a, b backend.RingMember) int { return strings.Compare(a.ID, b.ID) })
	return r, nil
}

func ringMember(m ring.Member, states memberStates, share float64) backend.RingMember {
	return backend.RingMember{Name: m.Name, ID: m.ID.String(), State: states.of(m.ID), Addr: m.Addr, Tokens: m.Tokens, Share: share}
}

// memberNamed returns the member of either side with that ID.
func memberNamed(conf *ring.Configuration, name, id string) ring.Member {
	for _, s := range conf.Sides() {
		for _, m := range s.Members {
			if m.Name == name && m.ID.String() == id {
				return m
			}
		}
	}
	return ring.Member{}
}

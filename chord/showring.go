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
	share := map[ring.ID]float64{}
	for i, part := range st.placement.Shares() {
		share[conf.New.Members[i].ID] = part
	}
	var replies map[ring.ID]*progressReply
	if conf.Joint() {
		replies = n.askProgress(ctx, conf)
	}
	for _, m := range conf.All() {
		shown := backend.RingMember{Name: m.Name, ID: m.ID.String(), State: states.of(m.ID), Addr: m.Addr, Tokens: m.Tokens, Share: share[m.ID]}
		switch {
		case !conf.New.Has(m.ID):
			shown.Change = "leaves"
		case conf.Joint() && !conf.Old.Has(m.ID):
			shown.Change = "joins"
		}
		if reply := replies[m.ID]; reply != nil && reply.Epoch >= conf.Epoch && shown.Change != "leaves" {
			shown.Synced = reply.Synced || reply.Epoch > conf.Epoch
			shown.Sync = &reply.Sync
		}
		r.Members = append(r.Members, shown)
	}
	slices.SortFunc(r.Members, func(a, b backend.RingMember) int { return strings.Compare(a.ID, b.ID) })
	return r, nil
}

package chord

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// When more owners are gone for good than a quorum can do without, no register can
// decide anything any more, that of the configuration included. Then an operator
// may decide: the ring goes on with the survivors. All of them enter a forced
// configuration, in which nothing is served; each copies from all others what it
// is to own; and when all have everything it becomes final. What follows from the
// forced configuration is the same for everybody, so nothing has to be agreed on.
// A write is lost if all owners that acknowledged it are among those removed.

// force removes members without a quorum, or says what that would lose.
func (n *Node) force(ctx context.Context, st *ringState, drop []ring.ID, confirmed bool, report *backend.RemoveReport) (*backend.RemoveReport, error) {
	if !st.member {
		return nil, backend.Errorf(backend.Invalid, "", "this node is no member of the ring; ask one of %v", report.Survivors)
	}
	report.AtRisk = st.placement.AtRisk(drop)
	survivors := n.survivors(st.placement.Configuration(), drop)
	newest, silent := n.newest(ctx, st.placement.Configuration(), survivors)
	report.Missing = silent
	if !confirmed {
		return report, nil
	}
	if len(silent) > 0 {
		return nil, backend.Errorf(backend.NotReady, "", "%s stay and do not answer: start them, or remove them too; without what they hold more would be lost", strings.Join(silent, ", "))
	}
	if err := n.catchUpTo(newest); err != nil {
		return nil, backend.Errorf(backend.NotReady, "", "this node could not take over the newest configuration: %w", err)
	}
	cur := n.ring.Load().placement.Configuration()
	forced := cur
	if !cur.Forced || !cur.Joint() || len(drop) > 0 { // else it was begun, and goes on
		forced = cur.Force(drop)
	}
	n.log.Warn("an operator removes members by force", "epoch", forced.Epoch, "survivors", report.Survivors, "at_risk", report.AtRisk)
	for _, m := range survivors {
		if err := n.impose(ctx, m.ID, forced); err != nil {
			return nil, backend.Errorf(backend.NotReady, "", "%q did not take the forced configuration (%w); try again: the change goes on where it was left", m.Name, err)
		}
	}
	report.Epoch = forced.Epoch
	return report, nil
}

// survivors returns the members of both sides that stay.
func (n *Node) survivors(conf *ring.Configuration, drop []ring.ID) []ring.Member {
	var members []ring.Member
	for _, m := range conf.All() {
		if !slices.Contains(drop, m.ID) {
			members = append(members, m)
		}
	}
	return members
}

// newest asks the survivors for their epochs and returns who has the highest, and
// the names of those that do not answer.
func (n *Node) newest(ctx context.Context, conf *ring.Configuration, survivors []ring.Member) (ring.ID, []string) {
	replies := n.askProgress(ctx, conf)
	best := n.id
	epoch := conf.Epoch
	var silent []string
	for _, m := range survivors {
		reply := replies[m.ID]
		switch {
		case reply == nil:
			silent = append(silent, m.Name)
		case reply.Epoch > epoch:
			best, epoch = m.ID, reply.Epoch
		}
	}
	return best, sorted(silent)
}

func (n *Node) catchUpTo(id ring.ID) error {
	if id == n.id {
		return nil
	}
	return n.catchUp(id.Node())
}

// imposeRequest brings a member a configuration that was not chosen by a quorum,
// but forced, or follows from a forced one.
type imposeRequest struct{ Configuration []byte }

// impose has a member enter a forced configuration.
func (n *Node) impose(ctx context.Context, id ring.ID, conf *ring.Configuration) error {
	ctx, cancel := context.WithTimeout(ctx, enterTimeout)
	defer cancel()
	if id == n.id {
		return n.enter(ctx, []*ring.Configuration{conf})
	}
	return n.mesh.Call(ctx, id.Node(), callImpose, &imposeRequest{Configuration: conf.Encode()}, nil)
}

// onImpose takes a forced configuration; st is the ring that the node works by.
func (n *Node) onImpose(ctx context.Context, from ring.Node, st *ringState, req *imposeRequest) error {
	conf, err := ring.DecodeConfiguration(req.Configuration)
	if err != nil {
		return err
	}
	if !conf.Forced {
		return fmt.Errorf("the configuration of epoch %d is not a forced one", conf.Epoch)
	}
	if st.placement.Configuration().Epoch+1 < conf.Epoch {
		if err := n.catchUp(from); err != nil {
			return err
		}
		st = n.ring.Load()
	}
	if st.placement.Configuration().Epoch > conf.Epoch && n.store != nil {
		had, err := n.store.Chain(conf.Epoch-1, 1)
		if err != nil {
			return err
		}
		if len(had) == 0 || !bytes.Equal(had[0].Encode(), conf.Encode()) {
			return fmt.Errorf("%q is in epoch %d already, by another configuration of epoch %d", n.cfg.Name, st.placement.Configuration().Epoch, conf.Epoch)
		}
	}
	return n.enter(ctx, []*ring.Configuration{conf})
}

// finishForced ends a forced configuration when all survivors have everything.
func (r *reshaper) finishForced(conf *ring.Configuration, p ring.Progress) error {
	var waiting []string
	for _, m := range conf.New.Members {
		if !p.Entered[m.ID] || !p.Synced[m.ID] && r.epochOf(m.ID) == conf.Epoch {
			waiting = append(waiting, m.Name)
		}
	}
	if len(waiting) > 0 {
		return fmt.Errorf("the forced epoch %d waits until %s have copied what is left; nothing is served meanwhile", conf.Epoch, strings.Join(sorted(waiting), ", "))
	}
	final := conf.Finish(false)
	var wg sync.WaitGroup
	errs := make([]error, len(conf.New.Members))
	for i, m := range conf.New.Members {
		wg.Go(func() { errs[i] = r.node.impose(r.node.ctx, m.ID, final) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("%q did not take the end of the forced change: %w", conf.New.Members[i].Name, err)
		}
	}
	return nil
}

// epochOf returns the epoch that a member said last.
func (r *reshaper) epochOf(id ring.ID) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.last[id]; p != nil {
		return p.Epoch
	}
	return 0
}

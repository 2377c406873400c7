package chord

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// leaveNews is how long a member that left waits for the others to hear of it.
const leaveNews = 5 * time.Second

// reshapeLook is how often one that waits for a change of the ring looks.
const reshapeLook = 50 * time.Millisecond

// RemovedError says that a node found itself removed from the ring, or cannot
// return to it: it has to start anew, as a new member.
type RemovedError struct{ Reason string }

func (e *RemovedError) Error() string {
	return e.Reason + "; it starts anew as a new member with a new identity"
}

// renew ends the node, which is to start anew. It may be called from anywhere.
func (n *Node) renew(reason string) { n.fail(&RemovedError{Reason: reason}) }

// leaving reports whether this member is to leave, or has left.
func (r *reshaper) leaving() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaves
}

// Leave implements backend.Admin.
func (n *Node) Leave(ctx context.Context) error {
	st, err := n.serving(ctx, "")
	if err != nil {
		return err
	}
	conf := st.placement.Configuration()
	switch {
	case n.store == nil:
		return backend.Errorf(backend.Invalid, "", "a client owns nothing that it could give away; stop it")
	case len(conf.New.Members) == 1 && conf.New.Has(n.id):
		return backend.Errorf(backend.Invalid, "", "this is the only member of the ring: nobody could take its keys. Stop it, and it keeps them")
	}
	n.reshaper.mu.Lock()
	n.reshaper.leaves = true
	n.reshaper.mu.Unlock()
	n.reshaper.wake()
	n.log.Info("leaves the ring")
	err = n.awaitRing(ctx, func(conf *ring.Configuration) bool {
		_, in := conf.Member(n.id)
		return !in && !conf.Joint()
	})
	if err != nil {
		return n.noChange(err, "this member goes on leaving as soon as it can")
	}
	n.spreadNews(ctx)
	n.log.Info("has left the ring")
	return nil
}

// spreadNews waits, for a while, until all but f of the members know that this one
// has left, so that nobody misses it.
func (n *Node) spreadNews(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveNews)
	defer cancel()
	conf := n.ring.Load().placement.Configuration()
	for ctx.Err() == nil {
		missing := len(conf.New.Members)
		for _, reply := range n.askProgress(ctx, conf) {
			if reply.Epoch >= conf.Epoch {
				missing--
			}
		}
		if missing <= conf.New.Faults() {
			return
		}
		_ = pause(ctx, reshapeLook) // the loop looks at ctx
	}
}

// awaitRing waits until this node's configuration is as wanted.
func (n *Node) awaitRing(ctx context.Context, wanted func(*ring.Configuration) bool) error {
	tick := time.NewTicker(reshapeLook)
	defer tick.Stop()
	for !wanted(n.ring.Load().placement.Configuration()) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.done:
			return n.usable(context.Background(), "")
		}
	}
	return nil
}

// noChange is the error of one that waited for a change of the ring in vain.
func (n *Node) noChange(err error, then string) error {
	if backend.CodeOf(err) != 0 && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return err
	}
	why := n.reshaper.waits()
	if why == "" {
		why = "the change is under way"
	}
	return &backend.Error{Code: backend.UnknownOutcome, Message: fmt.Sprintf("the ring did not change in time: %s; %s", why, then), Cause: err}
}

// Remove implements backend.Admin.
func (n *Node) Remove(ctx context.Context, req backend.RemoveRequest) (*backend.RemoveReport, error) {
	st, err := n.serving(ctx, "")
	if err != nil {
		return nil, err
	}
	conf := st.placement.Configuration()
	drop, err := n.named(conf, req.Names)
	if err != nil {
		return nil, err
	}
	report := &backend.RemoveReport{}
	for _, m := range conf.New.Members {
		if !slices.Contains(drop, m.ID) {
			report.Survivors = append(report.Survivors, m.Name)
		}
	}
	if len(report.Survivors) == 0 {
		return nil, backend.Errorf(backend.Invalid, "", "nobody would be left in the ring")
	}
	slices.Sort(report.Survivors)
	if req.Force {
		return n.force(ctx, st, drop, req.Confirm, report)
	}
	missing := 0
	for _, m := range conf.New.Members {
		if m.ID != n.id && !n.peers.alive(m.ID.Node()) {
			missing++
		}
	}
	if missing > conf.New.Faults() {
		return nil, &backend.Error{Code: backend.NoQuorum, Message: fmt.Sprintf(
			"%d of %d members are gone, and the ring can do without %d: start them again, or, if they are gone for good, see what is lost with remove -force", missing, len(conf.New.Members), conf.New.Faults())}
	}
	ids := &changeRequest{}
	for _, id := range drop {
		ids.Remove = append(ids.Remove, id.Bytes())
	}
	if st.member {
		err = n.reshaper.onChangeRing(ids)
	} else {
		err = n.askMember(conf, ids)
	}
	if err != nil {
		return nil, backend.Errorf(backend.NotReady, "", "%w", err)
	}
	err = n.awaitRing(ctx, func(c *ring.Configuration) bool {
		report.Epoch = c.Epoch
		return c.Epoch > conf.Epoch && !slices.ContainsFunc(drop, func(id ring.ID) bool { return c.New.Has(id) })
	})
	if err != nil {
		return nil, n.noChange(err, "it goes on as soon as it can")
	}
	return report, nil
}

// named returns the members of these names, none of which may be alive.
func (n *Node) named(conf *ring.Configuration, names []string) ([]ring.ID, error) {
	if len(names) == 0 {
		return nil, backend.Errorf(backend.Invalid, "", "no member is named; the members are %v", conf.Names())
	}
	var ids []ring.ID
	for _, name := range names {
		i := slices.IndexFunc(conf.New.Members, func(m ring.Member) bool { return m.Name == name })
		if i < 0 && conf.Forced && conf.Joint() {
			continue // removed already, by the force that goes on
		}
		if i < 0 {
			return nil, backend.Errorf(backend.Invalid, "", "there is no member %q; the members are %v", name, conf.Names())
		}
		m := conf.New.Members[i]
		if m.ID == n.id || n.peers.alive(m.ID.Node()) {
			return nil, backend.Errorf(backend.Invalid, "", "%q is alive: let it leave (chord-plugin leave, asked of it), or stop it first and wait until it is seen dead", name)
		}
		if !slices.Contains(ids, m.ID) {
			ids = append(ids, m.ID)
		}
	}
	return ids, nil
}

package chord

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/gossip"
)

// What a member does to begin and to end a change of the ring.

const (
	// joinGather is how long a member waits for more that want to join, so that
	// those who start together come in together.
	joinGather = 400 * time.Millisecond
	// joinAgain is how often a node asks to be taken in; what was asked longer ago
	// than joinStale counts no more.
	joinAgain = time.Second
	joinStale = 5 * time.Second
	// replaceGrace is how long a member is gone before one that joins takes its
	// place at once.
	replaceGrace = 30 * time.Second
	// joinerGone is how long a joiner may be gone before the change is undone, and
	// joinerStalls how long one may not get on that is there.
	joinerGone   = 5 * time.Second
	joinerStalls = time.Minute
	// goneForNow is how long a member is gone before a change does without it.
	goneForNow = time.Second
	// progressTimeout bounds the question how far a member is.
	progressTimeout = 2 * time.Second
)

// joinRequest is a node that wants to join.
type joinRequest struct {
	member ring.Member
	first  time.Time
	last   time.Time
}

// absence keeps since when members are gone, as far as this node has seen.
type absence struct{ since map[ring.ID]time.Time }

// look takes in what gossip believes.
func (a *absence) look(conf *ring.Configuration, nodes []gossip.Node, self ring.ID) {
	now := time.Now()
	there := map[ring.ID]bool{self: true}
	for _, g := range nodes {
		there[g.ID] = g.State == gossip.Alive || g.State == gossip.Suspect
	}
	members := map[ring.ID]bool{}
	for _, m := range conf.All() {
		members[m.ID] = true
		if there[m.ID] {
			delete(a.since, m.ID)
		} else if _, ok := a.since[m.ID]; !ok {
			a.since[m.ID] = now
		}
	}
	for id := range a.since {
		if !members[id] {
			delete(a.since, id)
		}
	}
}

// of returns for how long a member is gone; 0 for one that is there.
func (a *absence) of(id ring.ID) time.Duration {
	since, ok := a.since[id]
	if !ok {
		return 0
	}
	return max(time.Since(since), 1)
}

// members returns the members of a side that are gone.
func (a *absence) members(s *ring.Side) []ring.Member {
	var gone []ring.Member
	for _, m := range s.Members {
		if a.of(m.ID) > 0 {
			gone = append(gone, m)
		}
	}
	return gone
}

// begin starts a change that was asked of this node, or that is due. turn says
// that it is this member's turn to do what everybody sees.
func (r *reshaper) begin(conf *ring.Configuration, turn bool) error {
	plan, err := r.plan(conf, turn)
	if err != nil {
		return err
	}
	next, err := conf.Begin(plan)
	if err != nil || next == nil {
		return err
	}
	if gone := r.gone.members(&next.New); len(gone) > next.New.Faults() {
		return fmt.Errorf("the change would leave a ring of %d that cannot do without %s, which are gone; start them, or remove them too", len(next.New.Members), strings.Join(memberNames(gone), ", "))
	}
	for id, p := range r.node.askProgress(r.node.ctx, conf) {
		// One that has still to drop what it no longer owns could not follow.
		if m, _ := conf.Member(id); p.Epoch != conf.Epoch || !p.Clean {
			return fmt.Errorf("the next change of the ring waits until %q has dropped what it no longer owns", m.Name)
		}
	}
	r.node.log.Info("begins a change of the ring", "epoch", next.Epoch, "joining", memberNames(plan.Join), "leaving", r.names(conf, plan.Remove))
	if err := r.propose(conf, next); err != nil {
		return fmt.Errorf("begin a change: %w", err)
	}
	return nil
}

// plan says who is to come and to go.
func (r *reshaper) plan(conf *ring.Configuration, turn bool) (ring.Plan, error) {
	var plan ring.Plan
	gone := r.gone.members(&conf.New)
	spared := len(gone) <= conf.New.Faults()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.drops {
		if !conf.New.Has(id) {
			delete(r.drops, id)
			continue
		}
		plan.Remove = append(plan.Remove, id)
	}
	if r.leaves && conf.New.Has(r.node.id) && !slices.Contains(plan.Remove, r.node.id) {
		plan.Remove = append(plan.Remove, r.node.id)
	}
	reap := r.node.cfg.ReapAfter
	if turn && reap > 0 && spared {
		for _, m := range gone {
			if r.gone.of(m.ID) >= reap && !slices.Contains(plan.Remove, m.ID) {
				plan.Remove = append(plan.Remove, m.ID)
			}
		}
	}
	if err := r.addJoins(conf, &plan, gone, spared && reap > 0); err != nil {
		return plan, err
	}
	if len(plan.Remove) >= len(conf.New.Members)+len(plan.Join) {
		return ring.Plan{}, fmt.Errorf("nobody would be left in the ring")
	}
	return plan, nil
}

// addJoins adds those who want to join, and takes out for each one that is gone,
// if replace says that this may be.
func (r *reshaper) addJoins(conf *ring.Configuration, plan *ring.Plan, gone []ring.Member, replace bool) error {
	var newest time.Time
	for id, j := range r.joins {
		if conf.New.Has(id) || time.Since(j.last) > joinStale {
			delete(r.joins, id)
			continue
		}
		if j.first.After(newest) {
			newest = j.first
		}
	}
	if len(r.joins) == 0 || time.Since(newest) < joinGather {
		return nil
	}
	var refused error
	places := 0
	for _, id := range sortedIDs(r.joins) {
		m := r.joins[id].member
		more := ring.Plan{Join: append(slices.Clone(plan.Join), m), Remove: plan.Remove, Replicas: plan.Replicas}
		if i := slices.IndexFunc(gone, func(g ring.Member) bool { return g.Name == m.Name }); i >= 0 && replace {
			more.Remove = append(slices.Clone(plan.Remove), gone[i].ID) // it has come back with nothing
		} else {
			places++
		}
		if _, err := conf.Begin(more); err != nil {
			refused = fmt.Errorf("%q cannot join: %w", m.Name, err)
			delete(r.joins, id)
			continue
		}
		*plan = more
	}
	for _, m := range gone {
		if places > 0 && replace && r.gone.of(m.ID) >= min(replaceGrace, r.node.cfg.ReapAfter) && !slices.Contains(plan.Remove, m.ID) {
			plan.Remove = append(plan.Remove, m.ID)
			places--
		}
	}
	if len(plan.Join) == 0 {
		return refused
	}
	return nil
}

// finish ends a joint configuration once enough members have entered it and
// synced, and those that can be waited for have too. It undoes the change when
// one that is to join has gone or does not get on.
func (r *reshaper) finish(conf *ring.Configuration) error {
	p := r.progress(conf)
	if conf.Forced {
		return r.finishForced(conf, p)
	}
	ok, missed := conf.MayFinish(p)
	var waiting []string
	for _, m := range missed {
		gone := r.gone.of(m.ID)
		joins := !conf.Old.Has(m.ID)
		switch {
		case joins && (gone > joinerGone || r.stalls(m.ID)):
			r.node.log.Warn("a member that was to join does not get on: the change is undone", "member", m.Name, "epoch", conf.Epoch)
			return r.undo(conf)
		case gone > goneForNow && !joins:
		case ok && !joins && r.stalls(m.ID): // there, but it does not get on; anti-entropy will see to it
		default:
			waiting = append(waiting, r.named(m))
		}
	}
	for _, side := range conf.Sides() {
		if gone := r.gone.members(side); !ok && len(gone) > side.Faults() {
			return fmt.Errorf("epoch %d waits for %s: more are gone than the ring can do without; start them, or see remove -force", conf.Epoch, strings.Join(memberNames(gone), ", "))
		}
	}
	if len(waiting) > 0 || !ok {
		return fmt.Errorf("epoch %d waits until %s have what they are to own", conf.Epoch, strings.Join(sorted(waiting), ", "))
	}
	return r.propose(conf, conf.Finish(false))
}

// named is a member's name, with what holds up its copying.
func (r *reshaper) named(m ring.Member) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.last[m.ID]; p != nil && p.Held != "" {
		return fmt.Sprintf("%s (%s)", m.Name, p.Held)
	}
	return m.Name
}

// stalls reports whether a member has not got on with copying for a long time.
func (r *reshaper) stalls(id ring.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var work uint64
	if p := r.last[id]; p != nil {
		work = p.Work
	}
	m, ok := r.moved[id]
	if !ok || m.work != work {
		r.moved[id] = movement{work, time.Now()}
		return false
	}
	return time.Since(m.at) > joinerStalls
}

// progress asks all members of a joint configuration how far they are.
func (r *reshaper) progress(conf *ring.Configuration) ring.Progress {
	p := ring.Progress{Entered: map[ring.ID]bool{}, Synced: map[ring.ID]bool{}}
	replies := r.node.askProgress(r.node.ctx, conf)
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, reply := range replies {
		r.last[id] = reply
		p.Entered[id] = reply.Epoch >= conf.Epoch
		p.Synced[id] = reply.Epoch == conf.Epoch && reply.Synced
	}
	return p
}

// askProgress asks the members of a configuration how far they are; who does not
// answer in time is left out.
func (n *Node) askProgress(ctx context.Context, conf *ring.Configuration) map[ring.ID]*progressReply {
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	replies := map[ring.ID]*progressReply{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, m := range conf.All() {
		wg.Go(func() {
			reply := &progressReply{}
			var err error
			if m.ID == n.id {
				reply, err = n.onProgress()
			} else {
				err = n.mesh.Call(ctx, m.ID.Node(), callProgress, []byte{}, reply)
			}
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				replies[m.ID] = reply
			}
		})
	}
	wg.Wait()
	return replies
}

// changeRequest asks a member to change the ring.
type changeRequest struct {
	Join   []byte   // a member, as JSON
	Remove [][]byte // IDs
}

// onChangeRing notes what is asked; the change begins soon.
func (r *reshaper) onChangeRing(req *changeRequest) error {
	st := r.node.ring.Load()
	if st == nil || !st.member {
		return fmt.Errorf("%q is no member", r.node.cfg.Name)
	}
	var m ring.Member
	if len(req.Join) > 0 {
		if err := json.Unmarshal(req.Join, &m); err != nil {
			return err
		}
		if err := r.mayJoin(st.placement.Configuration(), m); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.joins)+len(r.drops)+len(req.Remove) >= ring.MaxMembers {
		return fmt.Errorf("too many changes wait")
	}
	if len(req.Join) > 0 {
		j, known := r.joins[m.ID]
		if !known {
			j.first = time.Now()
		}
		if b := r.backoff[m.Name]; time.Now().Before(b.until) {
			return fmt.Errorf("%q was to join and did not get through; it may try again in %v", m.Name, time.Until(b.until).Round(time.Second))
		}
		j.member, j.last = m, time.Now()
		r.joins[m.ID] = j
	}
	for _, b := range req.Remove {
		id, err := ring.IDFromBytes(b)
		if err != nil {
			return err
		}
		r.drops[id] = true
		delete(r.joins, id)
	}
	r.wake()
	return nil
}

// mayJoin says why a node cannot join, or nil.
func (r *reshaper) mayJoin(conf *ring.Configuration, m ring.Member) error {
	for _, have := range conf.New.Members {
		if have.Name != m.Name || have.ID == m.ID {
			continue
		}
		if r.node.peers.alive(have.ID.Node()) || have.ID == r.node.id {
			return fmt.Errorf("the name %q is that of a living member; give this node another one", m.Name)
		}
		if r.node.cfg.ReapAfter < 0 {
			return fmt.Errorf("the ring has a member %q that is gone, and dead_member_reap_after is off; remove that one first: chord-plugin remove %s", m.Name, m.Name)
		}
	}
	return nil
}

// askToJoin asks a member to take this node in.
func (r *reshaper) askToJoin(conf *ring.Configuration) error {
	n := r.node
	r.mu.Lock()
	due := time.Since(r.read) >= joinAgain
	if due {
		r.read = time.Now()
	}
	stuck := r.stuck
	r.mu.Unlock()
	if !due {
		if stuck != "" {
			return fmt.Errorf("%s", stuck)
		}
		return nil
	}
	self, err := json.Marshal(n.self())
	if err != nil {
		return err
	}
	return n.askMember(conf, &changeRequest{Join: self})
}

// askMember gives a request to the first member that takes it.
func (n *Node) askMember(conf *ring.Configuration, req *changeRequest) error {
	err := fmt.Errorf("no member of the ring is to be reached")
	for _, m := range conf.New.Members {
		if m.ID == n.id || !n.peers.alive(m.ID.Node()) {
			continue
		}
		ctx, cancel := context.WithTimeout(n.ctx, progressTimeout)
		e := n.mesh.Call(ctx, m.ID.Node(), callChangeRing, req, nil)
		cancel()
		if e == nil {
			return nil
		}
		err = fmt.Errorf("asking %q: %w", m.Name, e)
	}
	return err
}

func (r *reshaper) names(conf *ring.Configuration, ids []ring.ID) []string {
	var names []string
	for _, id := range ids {
		if m, ok := conf.Member(id); ok {
			names = append(names, m.Name)
		}
	}
	return sorted(names)
}

func memberNames(members []ring.Member) []string {
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	return sorted(names)
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

func sortedIDs[V any](m map[ring.ID]V) []ring.ID {
	ids := make([]ring.ID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, ring.ID.Compare)
	return ids
}

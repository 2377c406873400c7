package register

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// phase is what a round waits for.
type phase uint8

const (
	// phaseConfirm: nothing is to be changed; a quorum of owners must say that
	// they accepted what this node has.
	phaseConfirm phase = 1 + iota
	// phasePrepare: promises, with what was accepted (Lamport 2001, phase 1).
	phasePrepare
	// phaseAccept: acceptances (phase 2).
	phaseAccept
)

// round is one ballot of one key, carrying a batch of changes.
type round struct {
	number uint64
	queue  *queue
	group  ring.Group
	ops    []*op
	ballot Ballot
	// next is the ballot that the Accepts ask the owners to promise.
	next Ballot
	// first is the stamp of the first change; the i-th is first+i.
	first uint64
	phase phase
	// leased: the ballot was promised to us with the round before.
	leased bool
	base   Cell // what the changes were applied to
	// settling: the round only chooses base, on which nothing may be built before.
	settling bool
	// dead: a dead write was found.
	dead bool
	// forgot is the highest that was reported by promises without a cell.
	forgot Ballot
	// results and wrote, an operation each, once base is known.
	results []Result
	wrote   []bool

	yes, no  uint16 // owners that did, and that certainly will not
	promised uint16 // owners that promised next
	unsent   uint16 // owners that were never asked, and so count in no
	drift    uint16
	drifted  bool
	accepted [ring.MaxGroup]Ballot
	cells    []Cell // since phasePrepare
	timer    timer
}

// doubtful reports whether a change of the round may have happened before.
func (r *round) doubtful() bool {
	return slices.ContainsFunc(r.ops, func(o *op) bool { return o.doubt })
}

// stamp returns the stamp of change i.
func (r *round) stamp(self ring.Node, i int) Ballot {
	return Ballot{Time: r.first + uint64(i), Node: self}
}

func (r *round) carries(o *op) bool { return slices.Contains(r.ops, o) }

// heard returns how many owners answered, of how many.
func (r *round) heard() (answered, owners int) {
	return bits.OnesCount16(r.yes | r.no&^r.unsent), r.group.Len()
}

// missed reports whether the round asked a node in vain so far, and has sent
// nothing that could be accepted: it may begin again when the node is back.
func (r *round) missed(node ring.Node) bool {
	i := r.group.Index(node)
	return i >= 0 && r.phase == phasePrepare && (r.yes|r.no&^r.unsent)>>i&1 == 0
}

// mayHaveWritten reports whether an Accept that carries o's change may be out
// there. Owners that refused it never take it.
func (r *round) mayHaveWritten(o *op) bool {
	if r.phase != phaseAccept || r.no == r.group.All() {
		return false
	}
	i := slices.Index(r.ops, o)
	return i >= 0 && r.wrote[i]
}

// guess is the first try of a node that is itself an owner, whose cell is most
// likely the chosen one. If the changes change nothing, it only asks the others
// whether they have the same; if the owners promised this node a ballot on top of
// that very cell, the Accept goes out at once. It returns false when a Prepare is
// needed.
func (s *Shard) guess(r *round, cell Cell) bool {
	lease, leased := s.leases.take(r.queue.key)
	leased = leased && lease.accepted == cell.Accepted
	v, changed, _ := s.apply(r, cell)
	switch {
	case changed && leased:
		r.ballot, r.leased = lease.next, true
		s.accept(r, v)
	case changed:
		return false
	default:
		if leased {
			s.leases.put(r.queue.key, lease)
		}
		r.phase = phaseConfirm
		s.sendAll(&r.group, Message{Kind: MsgRead, Key: r.queue.key, Round: r.number, Digest: true})
	}
	return true
}

// prepare asks all owners for promises.
func (s *Shard) prepare(r *round) {
	r.phase = phasePrepare
	r.base, r.forgot, r.cells = Cell{}, Ballot{}, make([]Cell, r.group.Len())
	s.sendAll(&r.group, Message{Kind: MsgPrepare, Key: r.queue.key, Round: r.number, Ballot: r.ballot})
}

// apply runs the changes of the round on top of cell. force says that the result
// must be chosen in this ballot even if nothing changes, because a doubtful
// operation was judged by it.
func (s *Shard) apply(r *round, cell Cell) (v Value, changed, force bool) {
	r.base = cell
	r.results = make([]Result, len(r.ops))
	r.wrote = make([]bool, len(r.ops))
	found := cell.Value
	if cell.IsZero() {
		found = r.nothing()
	}
	if v = found; !holds(ruleGone) {
		v = cell.Value
	}
	if !holds(ruleForgetFate) {
		found = cell.Value
	}
	for i, o := range r.ops {
		if o.ended {
			continue // answered while this round prepared: it must not happen now
		}
		w := Past{Write: r.stamp(s.cfg.Self, i), Op: o.id}
		force = force || o.force && !cell.IsZero()
		if o.doubt && holds(ruleReapply) {
			f, at := found.fateOf(o.id)
			force = true
			switch f {
			case fateHappened:
				r.results[i] = o.resultOf(at, &v)
				continue
			case fateUnknown:
				r.results[i] = Result{Outcome: Unknown}
				continue
			}
		}
		if _, _, old := s.fences.outdated(o.change.Fences); old {
			r.results[i] = Result{Outcome: Fenced}
			continue
		}
		before := v
		var did bool
		v, did, r.results[i] = o.change.Apply(v, w)
		if len(o.change.Fences) > 0 && did && v.Size()+cell.Value.Size() > MaxCellData {
			v, did, r.results[i] = before, false, Result{Outcome: Oversized, Index: before.Index()}
		}
		r.wrote[i] = did
		changed = changed || did
	}
	if changed {
		v.trim(r.first)
		base := Cell{Accepted: cell.Accepted, Value: found}
		v = v.tagged(r.fences(), &base)
	}
	return v, changed, force
}

// resultOf answers an operation that happened in the round that was stamped at, and of
// which v is what has become since. It may have been another node's round.
func (o *op) resultOf(at Ballot, v *Value) Result {
	for _, sent := range o.sent {
		if sent.write == at {
			return sent.res
		}
	}
	switch o.change.Kind {
	case Nudge, Commit, Abort, Renew, End:
		if v.Live { // they answer what is there then
			return Result{Outcome: Done, Index: v.Index(), Value: *v}
		}
	case Place:
		if v.Intent != nil && v.Intent.Txn == o.change.Txn {
			return v.placed()
		}
	case Pop:
	default:
		return Result{Outcome: Done, Index: at.Time}
	}
	return Result{Outcome: Unknown} // done, but what it answers is not known here
}

// accept sends the round's value to all owners.
func (s *Shard) accept(r *round, v Value) {
	if !r.base.Accepted.Less(r.ballot) || len(r.base.Value.Lineage) > 0 && r.first <= r.base.Value.Write().Time {
		panic(fmt.Sprintf("register: round %v on top of %v", r.ballot, r.base.Accepted))
	}
	// A number of its own, so that no late answer to the Prepare is taken for one
	// to the Accept.
	delete(s.rounds, r.number)
	r.number = s.number()
	s.rounds[r.number] = r
	r.phase = phaseAccept
	r.yes, r.no, r.drift, r.unsent = 0, 0, 0, 0
	s.sendAll(&r.group, Message{Kind: MsgAccept, Key: r.queue.key, Round: r.number, Ballot: r.ballot, Next: r.next, Cell: Cell{Accepted: r.ballot, Value: v}})
	s.timers.set(&r.timer, s.now.Mono+s.attempt(r.queue, v.Size()), func() { s.lost(r, false) })
}

func (s *Shard) onPromise(from ring.Node, m *Message) {
	r := s.rounds[m.Round]
	if r == nil || r.phase != phasePrepare || m.Ballot != r.ballot {
		return
	}
	i := r.group.Index(from)
	if i < 0 || r.yes>>i&1 == 1 || !m.Cell.Accepted.Less(r.ballot) || !m.Forgot.Less(r.ballot) {
		return // nobody promises a ballot that is not above what it accepted or forgot
	}
	if err := s.clock.observe(m.Cell.Value.Write().Time, s.now.Wall); err != nil {
		r.drift |= 1 << i
		s.against(r, from)
		return
	}
	r.yes |= 1 << i
	r.accepted[i], r.cells[i] = m.Cell.Accepted, m.Cell
	if r.base.Accepted.Less(m.Cell.Accepted) {
		r.base = m.Cell
	}
	r.forgot = maxBallot(r.forgot, m.Forgot)
	if r.group.Tally(r.yes, r.no) == ring.VoteWon && (r.answered() || !r.base.IsZero() || !r.forced()) {
		s.promised(r)
	}
}

// answered reports whether every owner said yes or no.
func (r *round) answered() bool { return r.yes|r.no == r.group.All() }

// late ends a round whose time is up. One that only waited for the last owners to
// say that they have nothing either has what it needs.
func (s *Shard) late(r *round) {
	if r.phase == phasePrepare && r.group.Tally(r.yes, r.no) == ring.VoteWon {
		s.promised(r)
		return
	}
	s.lost(r, false)
}

// promised goes on with a round that a quorum made promises to.
func (s *Shard) promised(r *round) {
	best := s.pick(r)
	if best.open != "" {
		// Nobody can tell yet whether it counts.
		s.ready.Unsealed = append(s.ready.Unsealed, best.open)
		s.lost(r, false)
		return
	}
	r.base = best.cell
	if r.first <= max(r.base.Value.Write().Time, r.forgot.Time) {
		// The stamps must be above what they are built on, or what may have been
		// there. The clock has seen it by now: try again.
		s.lost(r, false)
		return
	}
	v, changed, force := s.apply(r, r.base)
	force = force || r.dead
	if !changed && (!force || !holds(ruleDeadShortcut)) && r.group.Quorum(r.agreeing(r.base.Accepted)) {
		s.won(r)
		return
	}
	if changed && !best.chosen && (len(r.base.Value.Tags) > 0 || len(v.Tags) > 0) && holds(ruleSettleFirst) {
		// A tagged value may be dead, and what is built on it with it; and what a tagged
		// value is built on must be chosen, to fall back on.
		r.settling, v = true, r.base.Value
		clear(r.wrote)
	}
	s.accept(r, v)
}

// agreeing returns the owners that answered and accepted exactly b.
func (r *round) agreeing(b Ballot) (set uint16) {
	for i := range r.group.Len() {
		if r.yes>>i&1 == 1 && r.accepted[i] == b {
			set |= 1 << i
		}
	}
	return set
}

func (s *Shard) onAccepted(from ring.Node, m *Message) {
	r := s.rounds[m.Round]
	if r == nil || r.phase != phaseAccept || m.Ballot != r.ballot {
		return
	}
	if i := r.group.Index(from); i >= 0 {
		r.yes |= 1 << i
		if m.Next == r.next {
			r.promised |= 1 << i
		}
		if r.group.Tally(r.yes, r.no) == ring.VoteWon {
			if r.group.Quorum(r.promised) && !r.queue.byOld {
				s.leases.put(r.queue.key, lease{next: r.next, accepted: r.ballot})
			}
			s.won(r)
		}
	}
}

// onRefuse counts an owner that will not promise or accept. A refusal of an
// Accept is final; that of a Prepare means that a higher ballot is about.
func (s *Shard) onRefuse(from ring.Node, m *Message) {
	r := s.rounds[m.Round]
	if r == nil || r.phase == phaseConfirm || m.Ballot == r.ballot {
		return // m.Ballot == r.ballot: a doubled Prepare, promised before
	}
	i := r.group.Index(from)
	if i < 0 {
		return
	}
	if err := s.clock.observe(m.Ballot.Time, s.now.Wall); err != nil {
		r.drift |= 1 << i
	}
	s.against(r, from)
}

// against counts an owner out and ends the round when no quorum is left.
func (s *Shard) against(r *round, from ring.Node) {
	i := r.group.Index(from)
	if i < 0 || r.yes>>i&1 == 1 {
		return
	}
	r.no |= 1 << i
	if r.group.Tally(r.yes, r.no) == ring.VoteLost {
		r.drifted = r.group.Tally(0, r.drift) == ring.VoteLost
		s.lost(r, true)
		return
	}
	s.waited(r)
}

// waited goes on with a round that had its quorum and only waited for the last
// owner.
func (s *Shard) waited(r *round) {
	if r.phase == phasePrepare && r.answered() && r.group.Tally(r.yes, r.no) == ring.VoteWon {
		s.promised(r)
	}
}

// confirm counts an owner's answer in phaseConfirm.
func (s *Shard) confirm(r *round, from ring.Node, accepted Ballot) {
	i := r.group.Index(from)
	if i < 0 {
		return
	}
	if accepted != r.base.Accepted {
		s.against(r, from)
		return
	}
	r.yes |= 1 << i
	r.no &^= 1 << i
	if r.group.Tally(r.yes, r.no) == ring.VoteWon {
		s.won(r)
	}
}

// onStale: the message came from another epoch and was not looked at.
func (s *Shard) onStale(from ring.Node, m *Message) {
	if r := s.rounds[m.Round]; r != nil {
		s.against(r, from)
		return
	}
	s.forwardFailed(m.Round, false)
}

// onDrift: one of the two clocks is wrong, and the message was not looked at.
func (s *Shard) onDrift(from ring.Node, m *Message) {
	if r := s.rounds[m.Round]; r != nil {
		if i := r.group.Index(from); i >= 0 && (m.Kind == MsgDrift || r.phase != phaseAccept) {
			r.drift |= 1 << i
			s.against(r, from)
		}
		return
	}
	if m.Kind == MsgDrift || m.Kind == MsgExpired && !m.Doubt {
		s.forwardFailed(m.Round, false)
	}
}

// fences returns the fences of the round's changes, which are the same for all.
func (r *round) fences() []Fence {
	for i, o := range r.ops {
		if r.wrote[i] {
			return o.change.Fences
		}
	}
	return nil
}

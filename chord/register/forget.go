package register

import (
	"slices"
	"time"
)

// This file is the shard where copies of a key are brought into line: how it
// forgets a tombstone that every owner holds, what it must say of that
// afterwards, and how a key is written again for owners that missed it.
//
// A tombstone must be held by every owner of one final epoch before the first of them forgets it: else one that has
// the value before it would bring that back. And who forgets must go on refusing
// what the tombstone refused, so the floor rises to it: else a late Accept, or a
// late copy, of what was deleted would find nothing in its way.

// Forgettable reports whether nothing of key that is older than the tombstone
// accepted at ballot can come from this owner, or come to it, any more: it
// holds that very tombstone, or nothing under a floor at or above it, as after
// it forgot it. Either is durable. False in another epoch, in a joint one (see
// Learn), and where this node does not own key.
func (s *Shard) Forgettable(epoch uint64, key string, ballot Ballot) bool {
	if s.err != nil || epoch != s.epoch || s.joint() && holds(ruleForgetFinal) || ballot.IsZero() || !s.owns(key) {
		return false
	}
	if _, pending := s.pending[key]; pending {
		return false
	}
	cell, _, ok := s.load(key)
	if !ok {
		return false
	}
	if cell.IsZero() {
		return !s.acceptor.floor.Less(ballot)
	}
	return cell.Accepted == ballot && cell.Value.IsTombstone()
}

// Forget drops the tombstone that this owner accepted at ballot, and promises in
// its place. The caller must know that every owner of key in epoch was
// Forgettable for it. The token's result is Done once it is gone from the disk;
// Refused in another epoch, in a joint one, and where this node does not hold that very
// tombstone, durably.
func (s *Shard) Forget(now Now, token uint64, epoch uint64, key string, ballot Ballot) {
	if !s.begin(now) {
		return
	}
	s.forget(token, epoch, key, ballot)
	s.drain()
}

func (s *Shard) forget(token, epoch uint64, key string, ballot Ballot) {
	answer := func(o Outcome) { s.answerCaller(Result{Token: token, Outcome: o}) }
	if epoch != s.epoch || s.joint() && holds(ruleForgetFinal) || ballot.IsZero() || !s.owns(key) {
		answer(Refused)
		return
	}
	if _, pending := s.pending[key]; pending {
		answer(Refused)
		return
	}
	cell, _, ok := s.load(key)
	if !ok {
		return
	}
	if cell.Accepted != ballot || !cell.Value.IsTombstone() {
		answer(Refused)
		return
	}
	// The stamp too, which may be above the ballot: what is written next must be
	// stamped above it, and a doubtful operation below it may have been among
	// what is forgotten.
	bound := ballot.Time
	if holds(ruleForgetStamp) {
		bound = max(bound, cell.Value.Write().Time)
	}
	floor := maxBallot(s.acceptor.promised(key, cell.Accepted), ceiling(bound))
	if floor.Time > s.reserved {
		// A restart must not lower the floor: the mark has to cover it first.
		if len(s.parked) >= s.cfg.MaxWaiting {
			answer(Overloaded)
			return
		}
		s.reserve(floor.Time)
		s.parked = append(s.parked, func() { s.forget(token, epoch, key, ballot) })
		return
	}
	s.acceptor.forget(key, floor)
	s.leases.take(key)
	seq := s.write(Write{Key: key, Drop: true})
	s.pend(key, Cell{}, seq)
	s.answers = append(s.answers, heldResult{seq, Result{Token: token, Outcome: Done}})
}

// Rewrite has what is chosen for key accepted once more, at a ballot of its own,
// so that every owner that can be reached holds the same cell. Where no owner has
// anything it writes nothing. The token's result is Done; see Submit for what
// else, and for the timeout.
func (s *Shard) Rewrite(now Now, token uint64, key string, timeout time.Duration) {
	if !s.begin(now) {
		return
	}
	s.rewrite(token, key, timeout)
	s.drain()
}

func (s *Shard) rewrite(token uint64, key string, timeout time.Duration) {
	s.submit(&op{token: token, key: key, change: Change{Kind: Identity}, force: true}, timeout)
}

// forced reports whether the round must go through Accept for all owners' sake.
func (r *round) forced() bool {
	return slices.ContainsFunc(r.ops, func(o *op) bool { return o.force })
}

// nothing returns the value of a key of which no promise of the round brought a
// cell. What was there before may have been forgotten up to forgot: below it the
// value knows nothing, and what is written on top must not claim to.
func (r *round) nothing() Value {
	if r.forgot.IsZero() {
		return Value{}
	}
	return Value{Lineage: []Past{{Write: r.forgot}}}
}

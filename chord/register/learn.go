package register

// Learn takes a cell that is chosen: one that a majority of the key's owners by Old
// was seen to hold, at that very ballot, in this joint epoch. Unlike Adopt it asks for no promise. An owner that promised a ballot p
// above b, and then takes what was chosen at b, breaks that promise in a way that
// nobody can tell: of the majority that accepted b, each did so before it promised
// p, and p's proposer has heard of b from one of them at least. So it built on b,
// and whatever it was not told by this owner is nothing above b (Lamport 2001,
// P2c).
//
// What was chosen may have been deleted since, and forgotten: then learning it
// late would bring it back. So nothing is forgotten in a joint epoch, and nothing
// is learnt in a final one.
//
// The token's result is Done once the cell, or a newer one, is durable here. A
// cell that was copied in another epoch is Refused.
func (s *Shard) Learn(now Now, token uint64, epoch uint64, key string, cell Cell) {
	if !s.begin(now) {
		return
	}
	defer s.drain()
	if err := s.clock.observe(max(cell.Accepted.Time, cell.Value.Write().Time), s.now.Wall); err != nil {
		s.answerCaller(Result{Token: token, Outcome: Drifted})
		return
	}
	if epoch != s.epoch || !s.joint() || !s.owns(key) {
		s.answerCaller(Result{Token: token, Outcome: Refused})
		return
	}
	have, seq, ok := s.load(key)
	if !ok {
		return
	}
	cell.Value = cell.Value.settled()
	if s.mustSettle(&have, &cell) {
		s.rewrite(token, key, 0)
		return
	}
	if have.Accepted.Less(cell.Accepted) {
		seq = s.keep(key, cell)
	}
	if seq <= s.synced {
		s.answerCaller(Result{Token: token, Outcome: Done})
		return
	}
	s.answers = append(s.answers, heldResult{seq, Result{Token: token, Outcome: Done}})
}

func (s *Shard) joint() bool { return s.placement.Configuration().Joint() }

package register

// issue returns the last of n fresh timestamps in a row. Each is below the
// durable high-water mark, so that a restart, which begins at the mark, never
// issues one of them again. When the mark is not high enough it returns false
// and calls resume once it is.
func (s *Shard) issue(n int, resume func()) (last uint64, ok bool) {
	next := max(s.clock.Last(), s.now.Wall) + uint64(n)
	if next > s.reserved {
		s.reserve(next)
		s.parked = append(s.parked, resume)
		return 0, false
	}
	last = s.clock.next(s.now.Wall, n)
	if last > s.reserved {
		panic("register: a timestamp above the high-water mark")
	}
	if ahead := s.reserved - last; ahead < ticks(s.cfg.MarkStep)/2 {
		s.reserve(last)
	}
	return last, true
}

// NewID issues a timestamp for the caller's token, as the Index of a result that is
// Done: with this node's name it is a ballot that this shard never used and never
// will, also after a restart.
func (s *Shard) NewID(now Now, token uint64) {
	if !s.begin(now) {
		return
	}
	s.newID(token)
	s.drain()
}

func (s *Shard) newID(token uint64) {
	if at, ok := s.issue(1, func() { s.newID(token) }); ok {
		s.answerCaller(Result{Token: token, Outcome: Done, Index: at})
	}
}

// reserve moves the high-water mark to a step above ts and returns the write
// that makes it durable. One such write is under way at a time; a caller that
// needs more than it brings comes back when it is done.
func (s *Shard) reserve(ts uint64) (seq uint64) {
	if s.marking == 0 && s.reserving < MaxTime {
		s.reserving = min(max(s.reserving, ts+ticks(s.cfg.MarkStep)), MaxTime)
		s.marking = s.write(Write{Mark: &Mark{HighWater: s.reserving}})
	}
	return s.marking
}

// write hands out something to make durable.
func (s *Shard) write(w Write) (seq uint64) {
	s.seq++
	w.Seq = s.seq
	s.ready.Writes = append(s.ready.Writes, w)
	return s.seq
}

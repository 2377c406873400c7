package register

import "github.com/chord-plugin/chord-plugin/chord/ring"

// This file is the shard as an owner: how it answers Prepare, Accept and Read.

// load returns what this acceptor has accepted for key, and the write that makes
// it durable (one that already is when nothing is pending).
func (s *Shard) load(key string) (c Cell, seq uint64, ok bool) {
	if p, there := s.pending[key]; there {
		return p.cell, p.seq, true
	}
	c, err := s.cfg.Cells.Load(key)
	if err != nil {
		s.err = err
		return Cell{}, 0, false
	}
	return c, 0, true
}

// owns reports whether this node is an acceptor of key.
func (s *Shard) owns(key string) bool {
	if s.cfg.Cells == nil {
		return false
	}
	g := s.placement.Group(key)
	return g.Index(s.cfg.Self) >= 0
}

func (s *Shard) onPrepare(from ring.Node, m *Message) {
	if !s.owns(m.Key) {
		return
	}
	if m.Ballot.Time > s.reserved {
		// The promise must be below a durable mark before anybody hears of it.
		if len(s.parked) >= s.cfg.MaxWaiting {
			return // the disk stalls; the asker tries again
		}
		s.reserve(m.Ballot.Time)
		again := *m
		s.parked = append(s.parked, func() {
			if again.Epoch == s.epoch || s.current(from, &again, true) {
				s.onPrepare(from, &again)
			}
		})
		return
	}
	cell, seq, ok := s.load(m.Key)
	if !ok {
		return
	}
	promised, ok := s.acceptor.prepare(m.Key, m.Ballot, cell.Accepted)
	if !ok {
		s.send(from, Message{Kind: MsgRefuse, Key: m.Key, Round: m.Round, Ballot: promised})
		return
	}
	promise := Message{Kind: MsgPromise, Key: m.Key, Round: m.Round, Ballot: m.Ballot, Cell: cell}
	if cell.IsZero() || len(cell.Value.Tags) > 0 {
		promise.Forgot = s.acceptor.forgot
		promise.Fences = s.fences.about(&cell.Value)
	}
	s.sendAfter(seq, from, promise)
}

func (s *Shard) onAccept(from ring.Node, m *Message) {
	if !s.owns(m.Key) {
		return
	}
	cell, _, ok := s.load(m.Key)
	if !ok {
		return
	}
	b := m.Cell.Accepted
	if t, by, refused := s.fences.refuses(&m.Cell.Value, from); refused {
		s.ready.Refused = append(s.ready.Refused, Refusal{Key: m.Key, From: from, Fence: t.Fence, InForce: by.InForce()})
		s.send(from, Message{Kind: MsgRefuse, Key: m.Key, Round: m.Round, Fences: []FenceEntry{by}})
		return
	}
	next := m.Next
	if next.Time > s.reserved {
		// No promise above the durable mark; the proposer can do without.
		s.reserve(next.Time)
		next = Ballot{}
	}
	promised, ok := s.acceptor.accept(m.Key, b, cell.Accepted, next)
	if !ok {
		s.send(from, Message{Kind: MsgRefuse, Key: m.Key, Round: m.Round, Ballot: promised})
		return
	}
	if b.Less(cell.Accepted) && holds(ruleAcceptedPromises) {
		panic("register: accepting " + b.String() + " below " + cell.Accepted.String() + " for key " + m.Key)
	}
	seq := s.keep(m.Key, m.Cell)
	s.sendAfter(seq, from, Message{Kind: MsgAccepted, Key: m.Key, Round: m.Round, Ballot: b, Next: next})
}

// adopt takes a cell that a quorum accepted into this owner's copy, exactly as a
// late Accept would be: above what it has, and not below what it promised. So a
// member that was away catches up with the keys that are read there.
func (s *Shard) adopt(key string, cell *Cell) {
	if s.clock.observe(max(cell.Accepted.Time, cell.Value.Write().Time), s.now.Wall) != nil {
		return
	}
	have, _, ok := s.load(key)
	if !ok || !have.Accepted.Less(cell.Accepted) || cell.Accepted.Less(s.acceptor.promised(key, have.Accepted)) {
		return
	}
	s.keep(key, Cell{Accepted: cell.Accepted, Value: cell.Value.settled()})
}

// keep makes cell what this owner has accepted, once the write is durable.
func (s *Shard) keep(key string, cell Cell) (seq uint64) {
	seq = s.write(Write{Key: key, Cell: cell})
	s.pend(key, cell, seq)
	return seq
}

// pend notes a write of a cell that is not durable yet; none is if it was dropped.
func (s *Shard) pend(key string, cell Cell, seq uint64) {
	s.pending[key] = pendingCell{cell, seq}
	s.unsynced = append(s.unsynced, pendingKey{key, seq})
}

func (s *Shard) onRead(from ring.Node, m *Message) {
	if !s.owns(m.Key) {
		return
	}
	cell, seq, ok := s.load(m.Key)
	if !ok {
		return
	}
	reply := Message{Kind: MsgCell, Key: m.Key, Round: m.Round, Digest: m.Digest, Cell: cell}
	if m.Digest {
		reply.Cell.Value = Value{}
	}
	s.sendAfter(seq, from, reply)
}

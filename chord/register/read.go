package register

import (
	"math/bits"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// read is a linearizable read under way: it ends when a quorum of owners says
// that it accepted the same ballot. Why that is enough: an operation that ended
// before the read began left its ballot, or a higher one, at a quorum, which
// meets every other quorum; so a quorum that agrees on a ballot agrees on one
// that is at least as new, and that is chosen.
type read struct {
	number uint64
	token  uint64
	key    string
	group  ring.Group
	stale  bool
	wide   bool // all owners were asked
	// replied, and by owner what was accepted there and the cell if it was sent.
	replied  uint16
	accepted [ring.MaxGroup]Ballot
	cells    [ring.MaxGroup]*Cell
	expiry   timer
	hedge    timer
}

// Read begins a linearizable read for the caller's token; with stale it takes
// the first owner's answer. The timeout is from now; 0 is none.
func (s *Shard) Read(now Now, token uint64, key string, stale bool, timeout time.Duration) {
	if !s.begin(now) {
		return
	}
	if len(s.reads) >= s.cfg.MaxWaiting && !frees(key) {
		s.answerCaller(Result{Token: token, Outcome: Overloaded})
		return
	}
	r := &read{number: s.number(), token: token, key: key, group: s.placement.Group(key), stale: stale}
	s.reads[r.number] = r
	s.callers[token] = func() { s.endRead(r) }
	if timeout > 0 {
		s.timers.set(&r.expiry, s.now.Mono+timeout, func() { s.endRead(r) })
	}
	s.ask(r)
	s.drain()
}

// ask sends the read to as few owners as can answer it: this node first, then
// those that answer, in the order of the key. Only the first sends the value.
func (s *Shard) ask(r *read) {
	var asked uint16
	ask := func(i int) {
		s.send(r.group.Owner(i), Message{Kind: MsgRead, Key: r.key, Round: r.number, Digest: asked != 0})
		asked |= 1 << i
	}
	enough := func() bool { return r.stale && asked != 0 || r.group.Quorum(asked) }
	if i := r.group.Index(s.cfg.Self); i >= 0 && s.cfg.Cells != nil {
		ask(i)
	}
	for i, o := range r.group.Owners() {
		if !enough() && asked>>i&1 == 0 && s.usable(o) {
			ask(i)
		}
	}
	if !enough() {
		s.widen(r)
		return
	}
	s.timers.set(&r.hedge, s.now.Mono+s.cfg.Hedge, func() { s.widen(r) })
}

// widen asks all owners for their whole cells.
func (s *Shard) widen(r *read) {
	if r.wide {
		return
	}
	r.wide = true
	r.replied = 0
	for _, o := range r.group.Owners() {
		s.send(o, Message{Kind: MsgRead, Key: r.key, Round: r.number})
	}
	s.timers.set(&r.hedge, s.now.Mono+2*s.cfg.Hedge, func() { s.propose(r) })
}

// propose turns a read on which the owners differ into an identity change.
func (s *Shard) propose(r *read) {
	if r.stale {
		r.wide = false // nobody has answered: ask again
		s.widen(r)
		return
	}
	var timeout time.Duration
	if r.expiry.place != 0 {
		timeout = max(r.expiry.at-s.now.Mono, 1)
	}
	s.forgetRead(r)
	s.submit(&op{token: r.token, key: r.key, change: Change{Kind: Identity}}, timeout)
}

func (s *Shard) onCell(from ring.Node, m *Message) {
	if round := s.rounds[m.Round]; round != nil {
		if round.phase == phaseConfirm {
			s.confirm(round, from, m.Cell.Accepted)
		}
		return
	}
	r := s.reads[m.Round]
	if r == nil {
		return
	}
	i := r.group.Index(from)
	if i < 0 {
		return
	}
	r.replied |= 1 << i
	r.accepted[i] = m.Cell.Accepted
	if !m.Digest {
		cell := m.Cell
		r.cells[i] = &cell
	}
	s.judge(r, i)
}

// judge looks whether the answers so far, of which i's is the newest, end the
// read.
func (s *Shard) judge(r *read, i int) {
	if r.stale {
		if r.cells[i] != nil {
			s.answerRead(r, r.cells[i])
		}
		return
	}
	b := r.accepted[i]
	var agree uint16
	var cell *Cell
	for j := range r.group.Len() {
		if r.replied>>j&1 == 1 && r.accepted[j] == b {
			agree |= 1 << j
			if c := r.cells[j]; c != nil && c.Accepted == b {
				cell = c
			}
		}
	}
	if !holds(ruleReadBack) && r.group.Quorum(r.replied) {
		s.answerRead(r, r.newest())
		return
	}
	switch {
	case r.group.Quorum(agree) && b.IsZero():
		s.answerRead(r, &Cell{})
	case r.group.Quorum(agree) && cell != nil:
		s.answerRead(r, cell)
	case !r.wide && r.group.Quorum(r.replied):
		s.widen(r)
	case r.replied == r.group.All():
		s.propose(r)
	}
}

// newest returns the highest cell that was sent.
func (r *read) newest() *Cell {
	best := &Cell{}
	for _, c := range r.cells[:r.group.Len()] {
		if c != nil && best.Accepted.Less(c.Accepted) {
			best = c
		}
	}
	return best
}

func (s *Shard) answerRead(r *read, c *Cell) {
	s.forgetRead(r)
	if i := r.group.Index(s.cfg.Self); i >= 0 && s.cfg.Cells != nil && !r.stale && r.replied>>i&1 == 1 && r.accepted[i].Less(c.Accepted) {
		s.adopt(r.key, c)
	}
	s.answerCaller(Result{
		Token: r.token, Outcome: Done, Index: c.Value.Index(), Value: c.Value.answer(),
		Answered: bits.OnesCount16(r.replied), Owners: r.group.Len(),
	})
}

// endRead answers a read whose time is up.
func (s *Shard) endRead(r *read) {
	s.forgetRead(r)
	s.answerCaller(Result{
		Token: r.token, Outcome: NoQuorum, Answered: bits.OnesCount16(r.replied), Owners: r.group.Len(),
	})
}

func (s *Shard) forgetRead(r *read) {
	s.timers.stop(&r.expiry)
	s.timers.stop(&r.hedge)
	delete(s.reads, r.number)
}

package register

import (
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Forwarding hands an operation to another node, the proposer, which keeps the
// changes of a key in one queue. What must never happen is that a late proposer
// applies an operation which its origin has meanwhile settled by itself. Clocks
// can not rule that out, ballots can: the proposer may use only ballots up to
// Until, and the origin takes an operation back only at ballots above it. Then
// any Accept of the proposer is either found by the origin's round or refused by
// a quorum that promised it.

// forward sends o to an owner and waits for its answer.
func (s *Shard) forward(o *op, to ring.Node) {
	o.to, o.forward, o.began = to, s.number(), s.now.Mono
	o.forwards++
	if o.change.writes() && o.forwards > 1 {
		// A fresh window, also for the name: the last proposer never used it.
		ts, ok := s.issue(1, func() { s.enqueue(o) })
		if !ok {
			o.forward = 0
			return
		}
		o.id = OpID{Time: ts, Node: s.cfg.Self}
	}
	var until uint64
	if o.change.writes() {
		until = o.id.Time + ticks(s.cfg.Window)
	}
	o.until = until
	var timeout time.Duration
	if o.expiry.place != 0 {
		timeout = max(o.expiry.at-s.now.Mono, 1)
	}
	s.forwards[o.forward] = o
	n := o.forward
	s.timers.set(&o.waiting, s.now.Mono+s.patience(&o.change), func() {
		s.answer = min(2*s.answer+s.cfg.ForwardMin/4, s.cfg.ForwardMax)
		s.avoid(to)
		s.forwardFailed(n, true)
	})
	c := o.change
	s.send(to, Message{Kind: MsgForward, Key: o.key, Round: n, Op: o.id, Until: until, Timeout: timeout, Change: &c})
}

// popPatience is how many times as long as for other changes a node waits at least for
// another that proposes a Pop.
const popPatience = 5

// patience is how long to wait for another proposer. What a Pop took nobody else can
// tell, so for that it is longer.
func (s *Shard) patience(c *Change) time.Duration {
	least := s.cfg.ForwardMin
	if c.Kind == Pop {
		least *= popPatience
	}
	return min(max(4*s.answer, least), s.cfg.ForwardMax)
}

// avoid passes a silent node over for a while.
func (s *Shard) avoid(node ring.Node) {
	p := s.peers[node]
	p.avoid = s.now.Mono + s.cfg.Avoid
	s.peers[node] = p
}

// forwardFailed takes an operation back. With delivered the proposer may have
// it, so that from here on it is in doubt.
func (s *Shard) forwardFailed(number uint64, delivered bool) {
	o := s.forwards[number]
	if o == nil {
		return
	}
	s.takeBack(o)
	if !o.change.writes() {
		s.dispatchAgain(o)
		return
	}
	if !delivered {
		o.until = 0
		s.dispatchAgain(o)
		return
	}
	o.doubt = true
	own := func() {
		s.passWindow(o.until)
		o.until = 0
		s.dispatchAgain(o)
	}
	if s.clock.last > s.now.Wall+2*ticks(s.cfg.Window) {
		// The clock is ahead of the wall's already. Let time pass in place of the
		// window, or nodes that stay silent would drive it on without end.
		s.timers.set(&o.waiting, s.now.Mono+s.cfg.Window, own)
		return
	}
	own()
}

func (s *Shard) takeBack(o *op) {
	delete(s.forwards, o.forward)
	s.timers.stop(&o.waiting)
	o.forward = 0
}

func (s *Shard) dispatchAgain(o *op) {
	if o.doubt || o.forwards >= maxForwards {
		s.enqueue(o)
		return
	}
	s.dispatch(o)
}

// passWindow moves the clock beyond a window that was given away.
func (s *Shard) passWindow(until uint64) {
	if holds(ruleWindow) {
		s.clock.last = max(s.clock.last, until)
	}
}

// onForward runs an operation for another node.
func (s *Shard) onForward(from ring.Node, m *Message) {
	if m.Change.writes() && (m.Op.IsZero() || m.Until <= m.Op.Time) {
		return // no origin sends this
	}
	if m.Change.writes() && m.Until <= max(s.clock.Last(), s.now.Wall) && holds(ruleWindow) {
		// Its window has closed: no ballot of ours can carry it.
		s.send(from, Message{Kind: MsgExpired, Key: m.Key, Round: m.Round})
		return
	}
	s.submit(&op{origin: from, askRound: m.Round, key: m.Key, id: m.Op, change: *m.Change, until: m.Until}, m.Timeout)
}

func (s *Shard) onResult(m *Message) {
	o := s.forwards[m.Round]
	if o == nil {
		return // taken back meanwhile
	}
	s.answer += (s.now.Mono - o.began - s.answer) / 8
	s.takeBack(o)
	s.finish(o, *m.Result)
}

// onExpired: the proposer gave up because the window had closed.
func (s *Shard) onExpired(m *Message) {
	s.forwardFailed(m.Round, m.Doubt)
}

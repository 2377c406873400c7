package register

import (
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// op is a change under way at this node, on behalf of a caller here (token) or
// of another node (origin).
type op struct {
	token    uint64
	origin   ring.Node // 0 for a caller here
	askRound uint64    // the origin's number
	number   uint64    // its place in Shard.ops
	key      string
	id       OpID
	change   Change
	// force: an identity change that goes through Accept even if a quorum agrees.
	force bool
	// settle: see Settle.
	settle settling
	// byOld: see SubmitByOld.
	byOld bool
	// until bounds the ballots that may carry the operation; 0 is no bound.
	until uint64
	// doubt: an Accept with the operation may be out there, or somebody may have
	// sent one.
	doubt bool
	// sent remembers what each of our own rounds that may be out there answers.
	sent []sentRound
	// to and number of a Forward that waits for its answer.
	to       ring.Node
	forward  uint64
	began    time.Duration
	forwards int
	expiry   timer
	waiting  timer
	// answered and owners of the last attempt, for the error.
	answered, owners int
	ended            bool
}

type sentRound struct {
	write Ballot
	res   Result
}

// maxForwards is how often an operation is handed to others before its node
// proposes it itself.
const maxForwards = 3

// maxSent bounds the rounds that an operation remembers; an older one that turns
// out to have happened answers Unknown where the answer needs a value.
const maxSent = 8

// Submit begins a change for the caller's token, which must not be in use. The
// timeout is from now; 0 is none.
func (s *Shard) Submit(now Now, token uint64, key string, c Change, timeout time.Duration) {
	if !s.begin(now) {
		return
	}
	s.submit(&op{token: token, key: key, change: c}, timeout)
	s.drain()
}

func (s *Shard) submit(o *op, timeout time.Duration) {
	if len(s.ops) >= s.cfg.MaxWaiting && !frees(o.key) && o.settle.Key == "" {
		s.answerOp(o, Result{Outcome: Overloaded})
		return
	}
	o.number = s.number()
	s.ops[o.number] = o
	if o.origin == 0 {
		s.callers[o.token] = func() { s.end(o) }
	}
	if timeout > 0 {
		s.timers.set(&o.expiry, s.now.Mono+timeout, func() { s.end(o) })
	}
	if o.id.IsZero() && o.change.writes() {
		s.name(o)
		return
	}
	s.dispatch(o)
}

// name gives the operation its ID: a timestamp below every stamp that it will be
// written with.
func (s *Shard) name(o *op) {
	if o.ended {
		return
	}
	if ts, ok := s.issue(1, func() { s.name(o) }); ok {
		o.id = OpID{Time: ts, Node: s.cfg.Self}
		s.dispatch(o)
	}
}

// dispatch hands the operation to the first owner that answers, so that changes
// of one key meet in one queue; or queues it here.
func (s *Shard) dispatch(o *op) {
	if o.ended || s.fencedOff(o) {
		return
	}
	if o.force || o.byOld {
		s.enqueue(o) // a Forward does not say so
		return
	}
	g := s.placement.Group(o.key)
	// Without a quorum in sight nobody else can do better, and a Prepare from here
	// leaves no doubt behind.
	if o.origin == 0 && !o.doubt && o.forwards < maxForwards && s.quorumUsable(&g) {
		for _, owner := range g.Owners() {
			if !s.usable(owner) {
				continue
			}
			if owner != s.cfg.Self {
				s.forward(o, owner)
				return
			}
			break
		}
	}
	s.enqueue(o)
}

// Cancel ends an operation or a read whose caller has gone. Its result says
// whether it may have taken effect. An unknown token is ignored.
func (s *Shard) Cancel(now Now, token uint64) {
	if !s.begin(now) {
		return
	}
	if end := s.callers[token]; end != nil {
		end()
	}
	s.drain()
}

// end answers an operation whose time is up.
func (s *Shard) end(o *op) {
	res := Result{Outcome: NoQuorum, Answered: o.answered, Owners: o.owners}
	if q := s.queues[o.queueName()]; q != nil && q.round != nil && q.round.carries(o) {
		answered, owners := q.round.heard() // it may just have begun
		res.Answered, res.Owners = max(answered, o.answered), owners
		if q.round.mayHaveWritten(o) {
			res.Outcome = Unknown
		}
	}
	if o.change.writes() && (o.doubt || o.forward != 0) {
		res.Outcome = Unknown
	}
	s.finish(o, res)
}

// finish ends an operation, once, and answers it.
func (s *Shard) finish(o *op, res Result) {
	if o.ended {
		return
	}
	o.ended = true
	s.timers.stop(&o.expiry)
	s.timers.stop(&o.waiting)
	if o.forward != 0 {
		delete(s.forwards, o.forward)
		o.forward = 0
	}
	delete(s.ops, o.number)
	if q := s.queues[o.queueName()]; q != nil {
		s.leave(q, o)
	}
	if res.Outcome == Fenced && o.origin == 0 && len(o.change.Fences) > 0 {
		s.ready.Fenced = append(s.ready.Fenced, s.refusal(o))
	}
	s.answerOp(o, res)
}

func (s *Shard) answerOp(o *op, res Result) {
	res.Value = res.Value.answer()
	if o.origin != 0 {
		answer := res // so that the others need no memory of their own
		s.send(o.origin, Message{Kind: MsgResult, Key: o.key, Round: o.askRound, Result: &answer})
		return
	}
	res.Token = o.token
	s.answerCaller(res)
}

// answerCaller ends what a caller here began.
func (s *Shard) answerCaller(res Result) {
	delete(s.callers, res.Token)
	s.ready.Results = append(s.ready.Results, res)
}

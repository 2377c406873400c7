package register

import (
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// queue holds the changes of one key that are proposed here. One ballot round is
// under way at a time; the changes that arrive meanwhile share the next one,
// each answered by itself, so that the changes of a hot key are not bound to
// round trips.
type queue struct {
	name  string // its place in Shard.queues
	key   string
	byOld bool  // see SubmitByOld
	ops   []*op // waiting, those of the round excluded
	round *round
	// careful: the next round begins with a Prepare, because the last one did not
	// find the owners as expected.
	careful bool
	tries   int
	pause   timer
}

// enqueue proposes an operation here.
func (s *Shard) enqueue(o *op) {
	if o.ended {
		return
	}
	q := s.queues[o.queueName()]
	if q == nil {
		q = &queue{name: o.queueName(), key: o.key, byOld: o.byOld}
		s.queues[q.name] = q
	}
	q.ops = append(q.ops, o)
	if q.round == nil && q.pause.place == 0 {
		s.start(q)
	}
}

// leave takes an ended operation out of its queue.
func (s *Shard) leave(q *queue, o *op) {
	if i := slices.Index(q.ops, o); i >= 0 {
		q.ops = slices.Delete(q.ops, i, i+1)
	}
	s.drop(q)
}

// drop forgets a queue in which nothing is left.
func (s *Shard) drop(q *queue) {
	if q.round == nil && len(q.ops) == 0 && s.queues[q.name] == q {
		s.timers.stop(&q.pause)
		delete(s.queues, q.name)
	}
}

// batch takes the changes for the next round off the queue.
func (q *queue) batch() []*op {
	n, size := 0, 0
	var fences *[]Fence
	for _, o := range q.ops {
		size += o.change.size()
		if n > 0 && size > maxBatchBytes || n == maxBatch {
			break
		}
		if o.change.writes() {
			if fences == nil {
				fences = &o.change.Fences
			} else if !slices.Equal(*fences, o.change.Fences) && holds(ruleBatch) {
				break // else an innocent change could be dead with another
			}
		}
		n++
	}
	ops := slices.Clone(q.ops[:n])
	q.ops = slices.Delete(q.ops, 0, n)
	return ops
}

// start begins the next round of a queue.
func (s *Shard) start(q *queue) {
	if q.round != nil {
		return
	}
	if len(q.ops) == 0 {
		s.drop(q)
		return
	}
	g := s.owners(q)
	self := g.Index(s.cfg.Self)
	var cell Cell
	owner := self >= 0 && s.cfg.Cells != nil
	if owner {
		c, _, ok := s.load(q.key)
		if !ok {
			return
		}
		cell = c
		// So that every stamp of the round is above what it is built on.
		s.clock.last = max(s.clock.last, cell.Accepted.Time, cell.Value.Write().Time)
	}
	n := min(len(q.ops), maxBatch)
	// n stamps, a ballot, and the next ballot.
	last, ok := s.issue(n+2, func() { s.start(q) })
	if !ok {
		return
	}
	s.expire(q, last-1)
	for _, o := range slices.Clone(q.ops) {
		s.fencedOff(o)
	}
	if len(q.ops) == 0 {
		s.drop(q)
		return
	}
	r := &round{number: s.number(), queue: q, group: g, ops: q.batch(), first: last - uint64(n) - 1}
	r.ballot, r.next = Ballot{Time: last - 1, Node: s.cfg.Self}, Ballot{Time: last, Node: s.cfg.Self}
	q.round = r
	s.rounds[r.number] = r
	s.timers.set(&r.timer, s.now.Mono+s.attempt(q, cell.Value.Size()), func() { s.late(r) })
	if owner && !q.careful && !q.byOld && !r.doubtful() && !r.forced() && s.quorumUsable(&r.group) && s.guess(r, cell) {
		return
	}
	s.prepare(r)
}

// attempt is how long a round may take: longer after tries that were too short,
// and by what its data takes on a slow link to every owner.
func (s *Shard) attempt(q *queue, bytes int) time.Duration {
	return s.cfg.Attempt<<min(q.tries/4, 3) + time.Duration(bytes)*perByte<<min(q.tries, 4)
}

// expire gives back forwarded operations whose window has closed.
func (s *Shard) expire(q *queue, ballot uint64) {
	for _, o := range slices.Clone(q.ops) {
		if o.origin == 0 || o.until == 0 || ballot <= o.until || !holds(ruleWindow) {
			continue
		}
		o.ended = true
		s.timers.stop(&o.expiry)
		delete(s.ops, o.number)
		q.ops = slices.Delete(q.ops, slices.Index(q.ops, o), slices.Index(q.ops, o)+1)
		s.send(o.origin, Message{Kind: MsgExpired, Key: o.key, Round: o.askRound, Doubt: o.doubt})
	}
}

// quorumUsable reports whether enough owners are thought to answer. Without
// them a round begins with a Prepare, which leaves no doubt behind if it fails.
func (s *Shard) quorumUsable(g *ring.Group) bool {
	var up uint16
	for i, o := range g.Owners() {
		if !s.peers[o].unreachable {
			up |= 1 << i
		}
	}
	return g.Quorum(up)
}

// won answers the operations of a round whose outcome is chosen.
func (s *Shard) won(r *round) {
	q := r.queue
	s.endRound(r)
	q.careful, q.tries = false, 0
	if r.settling {
		q.ops = append(slices.DeleteFunc(r.ops, func(o *op) bool { return o.ended }), q.ops...)
		s.queues[q.name] = q
		s.start(q)
		return
	}
	for i, o := range r.ops {
		res := r.results[i]
		res.Answered, res.Owners = r.heard()
		s.finish(o, res)
	}
	s.start(q)
}

// lost ends a round without a result and tries again: at once after a guess that
// was wrong, else after a pause.
func (s *Shard) lost(r *round, refused bool) {
	q := r.queue
	guessed := r.phase == phaseConfirm || r.leased
	for i, o := range r.ops {
		o.answered, o.owners = r.heard()
		if r.mayHaveWritten(o) {
			o.doubt = true
			o.sent = append(o.sent, sentRound{r.stamp(s.cfg.Self, i), r.results[i]})
			if len(o.sent) > maxSent {
				o.sent = o.sent[1:]
			}
		}
	}
	s.endRound(r)
	drifted := r.drifted
	q.careful = true
	var again []*op
	for _, o := range r.ops {
		switch {
		case o.ended:
		case drifted && !o.doubt:
			s.finish(o, Result{Outcome: Drifted, Answered: o.answered, Owners: o.owners})
		default:
			again = append(again, o)
		}
	}
	q.ops = append(again, q.ops...)
	if len(q.ops) == 0 {
		s.drop(q)
		return
	}
	s.queues[q.name] = q
	if guessed && refused && q.tries == 0 {
		q.tries++
		s.start(q)
		return
	}
	s.timers.set(&q.pause, s.now.Mono+s.backoff(q.tries), func() { s.start(q) })
	q.tries++
}

// backoff returns the pause before the next try: exponential, with full jitter.
func (s *Shard) backoff(tries int) time.Duration {
	mean := s.cfg.Backoff << min(tries, 5)
	return mean/2 + time.Duration(s.cfg.Rand.Int64N(int64(mean)))
}

func (s *Shard) endRound(r *round) {
	s.timers.stop(&r.timer)
	delete(s.rounds, r.number)
	r.queue.round = nil
}

// fencedOff answers an operation that a newer fence is known of than it carries,
// unless it may have been sent: then a round must tell.
func (s *Shard) fencedOff(o *op) bool {
	if _, _, old := s.fences.outdated(o.change.Fences); !old || o.doubt || o.ended {
		return false
	}
	s.finish(o, Result{Outcome: Fenced})
	return true
}

// refusal says that an operation of a caller here ended as fenced. Who refused it
// may know more of its fences than this node.
func (s *Shard) refusal(o *op) Refusal {
	fence, inForce, known := s.fences.outdated(o.change.Fences)
	if !known {
		fence = o.change.Fences[0]
	}
	return Refusal{Key: o.key, From: s.cfg.Self, Fence: fence, InForce: inForce}
}

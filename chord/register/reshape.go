package register

import (
	"slices"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// This file is the shard while the ring changes: how it moves to a newer
// configuration, meets messages of other epochs, takes cells that others
// accepted, and drops those it no longer owns.

// maxEarly bounds the messages kept of an epoch that this shard has not entered.
const maxEarly = 256

// maxEarlyData bounds the data of each; a larger one is lost, as on the wire.
const maxEarlyData = 64 << 10

// earlyMessage came from a node that is ahead.
type earlyMessage struct {
	from ring.Node
	msg  Message
}

// heldResult is a result that waits for a write to be durable.
type heldResult struct {
	seq uint64
	res Result
}

// current deals with a message of another epoch; true lets it through. Requests
// of an older epoch are turned away with ours; of a newer one they wait until it
// is here. No answer of another epoch counts, so that a quorum is always of one.
func (s *Shard) current(from ring.Node, m *Message, asks bool) bool {
	if !holds(ruleEpoch) {
		return true
	}
	if m.Epoch > s.epoch && !slices.Contains(s.ready.Newer, from) {
		s.ready.Newer = append(s.ready.Newer, from)
	}
	switch {
	case asks && m.Epoch < s.epoch:
		s.send(from, Message{Kind: MsgStale, Key: m.Key, Round: m.Round})
	case asks:
		if len(s.early) < maxEarly && m.Size() <= maxEarlyData {
			s.early = append(s.early, earlyMessage{from, *m})
		}
	case m.Kind == MsgResult || m.Kind == MsgExpired || m.Kind == MsgStale:
		return true // about an operation, not of a quorum
	}
	return false
}

// Reconfigure moves the shard to a newer configuration, which is durable by now.
// What is under way begins again in it.
func (s *Shard) Reconfigure(now Now, placement *ring.Placement) {
	epoch := placement.Configuration().Epoch
	if epoch <= s.epoch {
		panic("register: Reconfigure to an epoch that is not newer")
	}
	if !s.begin(now) {
		return
	}
	s.placement, s.epoch = newPlacement(placement), epoch
	s.leases = newLeases(s.cfg.MaxPromises)
	for _, n := range sortedKeys(s.rounds) {
		r := s.rounds[n]
		s.lost(r, false)
		if q := r.queue; q.round == nil {
			s.timers.stop(&q.pause)
			s.start(q)
		}
	}
	for _, n := range sortedKeys(s.reads) {
		if r := s.reads[n]; r != nil {
			s.again(r)
		}
	}
	early := s.early
	s.early = nil
	for i := range early {
		s.step(early[i].from, &early[i].msg)
	}
	s.drain()
}

// again begins a read anew, with a number of its own.
func (s *Shard) again(r *read) {
	delete(s.reads, r.number)
	s.timers.stop(&r.hedge)
	*r = read{number: s.number(), token: r.token, key: r.key, group: s.placement.Group(r.key), stale: r.stale, expiry: r.expiry, hedge: r.hedge}
	s.reads[r.number] = r
	s.ask(r)
}

// Adopt takes a cell that another owner accepted, exactly as a late Accept would
// be: only at or above what is promised. Where a promise is in the way, or a fence
// that makes one of the two cells doubtful, the key is written again instead, as Rewrite does. The token's result is Done once this
// node's part is durable, or the key settled. A cell that was copied in another
// epoch is Refused.
func (s *Shard) Adopt(now Now, token uint64, epoch uint64, key string, cell Cell) {
	if !s.begin(now) {
		return
	}
	defer s.drain()
	if err := s.clock.observe(max(cell.Accepted.Time, cell.Value.Write().Time), s.now.Wall); err != nil {
		s.answerCaller(Result{Token: token, Outcome: Drifted})
		return
	}
	if epoch != s.epoch || !s.owns(key) {
		s.answerCaller(Result{Token: token, Outcome: Refused})
		return
	}
	have, seq, ok := s.load(key)
	if !ok {
		return
	}
	s.fences.Clean(0, &cell.Value)
	if s.mustSettle(&have, &cell) {
		s.rewrite(token, key, 0)
		return
	}
	promised := s.acceptor.promised(key, have.Accepted)
	if !holds(ruleMergeFloor) {
		promised = s.acceptor.explicit[key]
	}
	if !holds(ruleMergePromise) {
		promised = have.Accepted
	}
	switch {
	case !have.Accepted.Less(cell.Accepted):
	case cell.Accepted.Less(promised):
		s.rewrite(token, key, 0)
		return
	default:
		seq = s.keep(key, cell)
	}
	if seq <= s.synced {
		s.answerCaller(Result{Token: token, Outcome: Done})
		return
	}
	s.answers = append(s.answers, heldResult{seq, Result{Token: token, Outcome: Done}})
}

// Bound returns a timestamp that no promise of this shard is above.
func (s *Shard) Bound() uint64 { return maxBallot(s.acceptor.floor, s.acceptor.top).Time }

// Raise promises for every key all ballots up to bound, which others have promised
// to whom this node succeeds: without that a proposer whose clock is behind could
// get a value chosen below a cell that was prepared, and accepted somewhere, before
// the ring changed. The token's result is Done once a restart does not forget it.
// To take over a key's cell afterwards costs a ballot, so this is to come last.
func (s *Shard) Raise(now Now, token uint64, bound uint64) {
	if !s.begin(now) {
		return
	}
	if err := s.clock.observe(bound, s.now.Wall); err != nil {
		s.answerCaller(Result{Token: token, Outcome: Drifted})
		return
	}
	s.raise(token, bound)
	s.drain()
}

func (s *Shard) raise(token uint64, bound uint64) {
	if bound > s.reserved {
		s.reserve(bound)
		s.parked = append(s.parked, func() { s.raise(token, bound) })
		return
	}
	if holds(ruleBound) {
		s.acceptor.raise(ceiling(bound))
	}
	s.answerCaller(Result{Token: token, Outcome: Done})
}

// Drop removes the cells of keys that this node does not own. A key that it owns
// is left alone. The token's result is Done once they are gone from the disk.
func (s *Shard) Drop(now Now, token uint64, keys []string) {
	if !s.begin(now) {
		return
	}
	var seq uint64
	for _, key := range keys {
		if s.owns(key) {
			continue
		}
		seq = s.write(Write{Key: key, Drop: true})
		s.pend(key, Cell{}, seq)
	}
	if seq == 0 {
		s.answerCaller(Result{Token: token, Outcome: Done})
		return
	}
	s.answers = append(s.answers, heldResult{seq, Result{Token: token, Outcome: Done}})
}

// releaseResults answers what waited for writes up to seq.
func (s *Shard) releaseResults(seq uint64) {
	kept := s.answers[:0]
	for _, a := range s.answers {
		if a.seq <= seq {
			s.answerCaller(a.res)
		} else {
			kept = append(kept, a)
		}
	}
	clear(s.answers[len(kept):])
	s.answers = kept
}

// Epoch returns the epoch that the shard works in.
func (s *Shard) Epoch() uint64 { return s.epoch }

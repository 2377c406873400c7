package register

import (
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// candidate is what a promise offers as the base of a round.
type candidate struct {
	cell Cell
	// chosen: it is known to be.
	chosen bool
	// open is the lock of the fence that must be sealed before it can be told whether
	// the cell counts.
	open string
	// dead: the cell is what a dead write was made on top of.
	dead bool
}

// weigh returns what a cell that an owner has accepted counts for.
func (s *Shard) weigh(r *round, node ring.Node, cell Cell) (c candidate) {
	c = candidate{cell: cell, chosen: r.group.Quorum(r.agreeing(cell.Accepted))}
	if len(cell.Value.Tags) == 0 {
		return c
	}
	if c.chosen {
		c.cell.Value = cell.Value.settled()
		return c
	}
	v := &c.cell.Value
	v.Tags = slices.Clone(v.Tags)
	for i := range v.Tags {
		t := &v.Tags[i]
		switch s.fences.of(t, node) {
		case tagDead:
			if !holds(ruleUndo) {
				return candidate{dead: true}
			}
			return candidate{cell: *cell.Value.Undo, chosen: true, dead: true}
		case tagOpen:
			if s.settles(r, t) {
				if t.Pass = s.fences[t.Key].Try; !holds(ruleSettleTag) {
					*v = v.settled()
					return c
				}
			} else {
				c.open = t.Key
			}
		}
	}
	s.fences.Clean(node, v)
	if !holds(ruleKeepTag) {
		*v = v.settled()
	}
	return c
}

// settles reports whether the round is to choose what it finds with a tag, on
// behalf of the attempt in force.
func (s *Shard) settles(r *round, t *Tag) bool {
	return slices.ContainsFunc(r.ops, func(o *op) bool {
		return !o.ended && o.settle == settling{t.Key, s.fences[t.Key].Try}
	})
}

// pick returns the best of what the promises offer: the highest, and of copies of
// one the clearest.
func (s *Shard) pick(r *round) (best candidate) {
	best.chosen = r.group.Quorum(r.agreeing(Ballot{}))
	for i := range r.group.Len() {
		if r.yes>>i&1 == 0 || r.accepted[i].IsZero() {
			continue
		}
		c := s.weigh(r, r.group.Owner(i), r.cells[i])
		if c.dead {
			r.dead = true
			if c.cell.IsZero() {
				r.forgot = maxBallot(r.forgot, c.cell.Value.Write())
				best.chosen = best.chosen || best.cell.IsZero()
				continue
			}
		}
		switch c.cell.Accepted.Compare(best.cell.Accepted) {
		case 1:
			best = c
		case 0:
			best.chosen = best.chosen || c.chosen
			if best.open != "" || len(c.cell.Value.Tags) < len(best.cell.Value.Tags) && c.open == "" {
				chosen := best.chosen
				best, best.chosen = c, chosen
			}
		}
	}
	return best
}

// Settle has what is found for key chosen once more, as Rewrite does, on behalf of
// an attempt to bring a fence into force that has been installed: also what was
// written with an older token. The entry is that attempt, with what was sealed
// before. It ends as Refused when another is in force here; see Submit for what else.
// The caller must be the one that made the attempt, and may seal it only once every
// Settle that it began has ended, the last of each key as Done.
func (s *Shard) Settle(now Now, token uint64, key string, e FenceEntry, timeout time.Duration) {
	if !s.begin(now) {
		return
	}
	s.fences.Learn(&e)
	if known := s.fences[e.Key]; known.Try != e.Try || known.Sealed.Compare(e.Try) >= 0 {
		s.answerCaller(Result{Token: token, Outcome: Refused})
	} else {
		s.submit(&op{token: token, key: key, change: Change{Kind: Identity}, force: true, settle: settling{e.Key, e.Try}}, timeout)
	}
	s.drain()
}

// settling names the attempt that an operation settles for.
type settling struct {
	Key string
	Try Attempt
}

// Fence takes entries of the node's table of fences. Before the node says that it
// has installed one, all its shards must have it, what they accepted before must be
// durable, and so must the entry.
func (s *Shard) Fence(now Now, entries []FenceEntry) {
	if !s.begin(now) {
		return
	}
	for i := range entries {
		s.fences.Learn(&entries[i])
	}
	s.drain()
}

// FenceOf returns what the shard knows of the fence of a lock.
func (s *Shard) FenceOf(lock string) FenceEntry { return s.fences[lock] }

// hear takes entries that came with a message, and hands on what was new.
func (s *Shard) hear(entries []FenceEntry) {
	for i := range entries {
		if s.fences.Learn(&entries[i]) {
			s.ready.Learned = append(s.ready.Learned, s.fences[entries[i].Key])
		}
	}
}

// mustSettle reports whether an owner that has a cell can not take over another one
// before it is settled which of them counts: since the new one may be dead, or
// what it has may be and hide the new one.
func (s *Shard) mustSettle(have, cell *Cell) bool {
	if !holds(ruleAdoptDoubt) {
		return false
	}
	if !have.Accepted.Less(cell.Accepted) && s.fences.doubts(s.cfg.Self, &have.Value) {
		return have.Value.Undo.Accepted.Less(cell.Accepted) && have.Accepted != cell.Accepted
	}
	_, _, refused := s.fences.refuses(&cell.Value, cell.Value.Write().Node)
	return refused && have.Accepted.Less(cell.Accepted)
}

// Clean takes tags off the value of a cell that this node has made durable, as it
// is to be given to other members; see Fences.Clean.
func (s *Shard) Clean(v *Value) { s.fences.Clean(s.cfg.Self, v) }

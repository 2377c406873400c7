package chord

import (
	"context"
	"maps"
	"slices"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// refresh asks the members what changed since their last answers, takes it in, and
// returns the keys that may have changed by the time it was sent.
func (l *listing) refresh(ctx context.Context) (moves []txn.Move, err error) {
	epoch := l.st.placement.Configuration().Epoch
	ask := slices.Collect(maps.Keys(l.answers))
	if l.quiet > 0 {
		l.node.quiet.ask(l.q.Prefix, l.quiet)
	}
	replies, err := gather(ctx, &l.poll, ask, len(ask), func(ctx context.Context, m ring.Node) (*changesReply, error) {
		req := changesRequest{Epoch: epoch, Prefix: l.q.Prefix, After: l.from, Since: l.answers[m].counter, Values: l.q.Values, Quiet: l.quiet}
		return askMember(ctx, l.node, m, callChanges, &req, l.node.onChanges)
	})
	if err != nil {
		return nil, err
	}
	changed := map[string]bool{}
	for m, a := range l.answers {
		reply := replies[m]
		if reply == nil || !reply.OK {
			return nil, errUnsettled
		}
		a.counter = reply.Counter
		for i := range reply.Cells {
			c := &reply.Cells[i]
			if l.wasSkipped(c.Key) || l.beyond(c.Key) {
				continue
			}
			if err := a.take(c); err != nil {
				return nil, err
			}
			changed[c.Key] = true
		}
	}
	l.before = make(map[string]heldCell, len(changed))
	for key := range changed {
		was, _ := l.known(key)
		inDoubt := l.open[key]
		l.before[key] = was
		l.judge(key)
		is, known := l.known(key)
		switch {
		case inDoubt: // what was there before is not known, nor whether it stood
			moves = append(moves, txn.Move{Key: key})
		case known && l.alike != nil && l.alike(&was.cell.Value, &is.cell.Value):
		default:
			moves = append(moves, txn.Move{Key: key, Before: was.cell.Value, After: is.cell.Value, Known: known})
		}
	}
	return moves, nil
}

// view returns the keys of which it can not be said what hosts saw there at the moment
// of the last decide, and sets viewed to what they saw at the others. again are keys for
// which that is known already.
func (l *listing) view(ctx context.Context, moves []txn.Move, again map[string]bool) (moved map[string]bool, err error) {
	stood, err := l.node.txns.Stood(registers{l.node, ctx}, !l.q.Values, l.states, moves)
	if err != nil {
		return nil, failure(err, backend.Conflict)
	}
	moved = again
	before := map[string]bool{} // what stood, however it looks now
	for i := range moves {
		if key := moves[i].Key; stood[i] && !again[key] {
			before[key] = true
		} else {
			moved[key] = true
		}
	}
	for key := range l.open {
		if !before[key] {
			moved[key] = true
		}
	}
	if len(moves) == 0 && len(moved) == 0 {
		l.viewed = l.settled
		return moved, nil
	}
	view := make([]known, 0, len(l.settled)+len(before))
	olds := slices.Sorted(maps.Keys(before))
	old := func(below func(key string) bool) {
		for len(olds) > 0 && below(olds[0]) {
			view = append(view, known{olds[0], l.before[olds[0]]})
			olds = olds[1:]
		}
	}
	for _, k := range l.settled {
		old(func(key string) bool { return key < k.key })
		if !before[k.key] && !moved[k.key] {
			view = append(view, k)
		}
	}
	old(func(string) bool { return true })
	l.viewed = view
	return moved, nil
}

// loud ends the quiet that the listing asked for, if it did.
func (l *listing) loud() {
	if l.quiet == 0 {
		return
	}
	l.node.quiet.ask(l.q.Prefix, 0)
	req := changesRequest{Epoch: l.st.placement.Configuration().Epoch, Prefix: l.q.Prefix, Quiet: -1}
	l.node.background.run(func() {
		ctx, cancel := context.WithTimeout(l.node.ctx, participantTimeout)
		defer cancel()
		_ = eachOf(len(l.members), func(i int) error { // where it fails, it ends by itself
			_, _ = askMember(ctx, l.node, l.members[i], callChanges, &req, l.node.onChanges)
			return nil
		})
	})
}

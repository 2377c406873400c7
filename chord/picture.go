package chord

import (
	"context"
	"errors"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// Scan returns what is in a range, of which a quorum of owners agrees on every key.
func (r registers) Scan(q txn.Range) (txn.Picture, error) {
	patience := participantTimeout
	for try := 0; try < maxListTries; try++ {
		st, err := r.node.serving(r.ctx, q.Prefix) // the ring may have changed
		if err != nil {
			return txn.Picture{}, err
		}
		l := newListing(r.node, st, backend.ListQuery{Prefix: q.Prefix, After: q.After, Limit: q.Limit, Values: q.Values})
		l.until, l.patience = q.UpTo, patience
		pic, err := l.picture(r)
		switch {
		case err == nil:
			return pic, nil
		case errors.Is(err, errMissing):
			try-- // the caller's deadline ends it
			patience = min(2*patience, maxParticipantTimeout)
		case !errors.Is(err, errUnsettled):
			return txn.Picture{}, err
		}
	}
	return txn.Picture{}, backend.Errorf(backend.Conflict, q.Prefix, "the keys under this prefix kept changing while they were listed; try again, or list a smaller part")
}

// picture scans the range, and on until the owners of each key agree.
func (l *listing) picture(r registers) (txn.Picture, error) {
	for {
		if err := l.scan(r.ctx); err != nil {
			return txn.Picture{}, err
		}
		if l.ended || l.q.Limit > 0 && l.found() >= l.q.Limit {
			break
		}
	}
	for round := 0; len(l.open) > 0; round++ {
		if round == maxListRounds {
			return txn.Picture{}, errUnsettled
		}
		if _, err := l.refresh(r.ctx); err != nil {
			return txn.Picture{}, err
		}
		if err := l.settle(r.ctx); err != nil {
			return txn.Picture{}, err
		}
	}
	pic := txn.Picture{Keys: make([]txn.KeyValue, len(l.settled)), More: !l.ended, UpTo: l.upTo}
	for i, k := range l.settled {
		pic.Keys[i] = txn.KeyValue{Key: k.key, Value: k.cell.cell.Value}
	}
	pic.Moved = func() ([]txn.Move, bool, error) { return l.moved(r.ctx) }
	return pic, l.fetch(r, pic.Keys)
}

// found counts the keys that are there, or may be.
func (l *listing) found() (n int) {
	for i := range l.settled {
		if !l.settled[i].cell.cell.Value.IsTombstone() {
			n++
		}
	}
	return n
}

// moved returns what may have changed since it was last looked at.
func (l *listing) moved(ctx context.Context) ([]txn.Move, bool, error) {
	moves, err := l.refresh(ctx)
	if errors.Is(err, errUnsettled) || errors.Is(err, errMissing) {
		return nil, false, nil
	}
	return moves, true, err
}

// fetch reads the values that no member sent along. One that has changed since is
// as it is now.
func (l *listing) fetch(r registers, keys []txn.KeyValue) error {
	if !l.q.Values {
		return nil
	}
	var missing []int
	for i := range keys {
		if v := &keys[i].Value; !l.settled[i].cell.whole && !v.IsTombstone() {
			missing = append(missing, i)
		}
	}
	return eachOf(len(missing), func(i int) error {
		kv := &keys[missing[i]]
		v, err := r.Read(kv.Key)
		kv.Value = v
		return err
	})
}

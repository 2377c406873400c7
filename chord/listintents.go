package chord

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// decide finds out what became of the transactions whose intents are on settled
// keys, all at one moment of the call, and then who lives of those that hold such
// keys. It returns the keys of which that can not be said, and those that it took
// from holders that ended; what is there will be known to be changed.
func (l *listing) decide(ctx context.Context) (again map[string]bool, err error) {
	if again, err = l.decideIntents(ctx); err != nil {
		return nil, err
	}
	var keys, holders []string
	for i := range l.settled {
		if h := l.shown(&l.settled[i].cell.cell.Value).Holder(); h != "" {
			keys, holders = append(keys, l.settled[i].key), append(holders, h)
		}
	}
	r := registers{l.node, ctx}
	ended, err := l.node.txns.Ended(r, holders)
	if err != nil {
		return nil, failure(err, backend.Conflict)
	}
	var over []int
	for i := range keys {
		if ended[holders[i]] {
			again[keys[i]] = true
			over = append(over, i)
		}
	}
	err = eachOf(len(over), func(i int) error { return l.node.txns.Release(r, keys[over[i]], holders[over[i]]) })
	return again, failure(err, backend.Conflict)
}

func (l *listing) decideIntents(ctx context.Context) (again map[string]bool, err error) {
	var ids []txn.ID
	var keys []string
	for i := range l.settled {
		if in := l.settled[i].cell.cell.Value.Intent; in != nil {
			ids = append(ids, in.Txn)
			keys = append(keys, l.settled[i].key)
		}
	}
	again, l.states = map[string]bool{}, make(map[txn.ID]register.State, len(ids))
	if len(ids) == 0 {
		return again, nil
	}
	r := registers{l.node, ctx}
	states, err := l.node.txns.Decided(r, ids)
	if err != nil {
		return nil, failure(err, backend.Conflict)
	}
	var over []string
	orphans := map[string]txn.ID{}
	for i, id := range ids {
		l.states[id] = states[i]
		if states[i] == register.Absent {
			again[keys[i]] = true
			orphans[keys[i]] = id
			if l.orphans[keys[i]] == id { // it has not gone since the last round
				over = append(over, keys[i])
			}
		}
	}
	l.orphans = orphans
	return again, eachOf(len(over), func(i int) error {
		_, err := l.node.txns.Read(r, over[i]) // which removes what nobody else would
		return failure(err, backend.Conflict)
	})
}

// shown returns what hosts see of a value. While the keys are still being looked
// for, nothing is known of the transactions: then a key counts as one that is there
// only if that is so whether or not they commit, so that enough are found.
func (l *listing) shown(v *register.Value) *register.Value {
	if v.Intent == nil {
		return v
	}
	if shown, ok := txn.ShownAt(v, l.states); ok {
		return &shown
	}
	old, applied := v.Old(), v.Applied()
	if !applied.Live {
		return &applied
	}
	return &old
}

package txn

import (
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Query asks for a list inside a transaction.
type Query struct {
	// Prefix is what the keys begin with.
	Prefix string
	// Separator, unless empty, folds the keys that have it behind the prefix to
	// what is up to and with it.
	Separator string
	// After is the name after which the list begins.
	After string
	// Limit is how many items are wanted; 0 is all.
	Limit int
	// Values asks for the cells' data, too.
	Values bool
}

// Item is a key or a folded group of keys.
type Item struct {
	Name   string
	Folded bool
	// Value is what the transaction sees at a key; zero for a group.
	Value register.Value
}

// listPage is how many keys are scanned at a time where a limit is given.
const listPage = 256

// fold returns the name that a key is listed under.
func (q *Query) fold(key string) (name string, folded bool) {
	if q.Separator == "" {
		return key, false
	}
	if i := strings.Index(key[len(q.Prefix):], q.Separator); i >= 0 {
		return key[:len(q.Prefix)+i+len(q.Separator)], true
	}
	return key, false
}

// from returns the key after which to scan: behind a group that After names.
func (q *Query) from() string {
	if strings.HasPrefix(q.After, q.Prefix) {
		if name, folded := q.fold(q.After); folded && name == q.After {
			return q.After + "\xff" // above every key of the group
		}
	}
	return q.After
}

// List returns what the transaction sees under a prefix, sorted, and whether
// there is more. Keys that others add there before the commit make it a conflict.
func (tx *Tx) List(r Registers, q Query) (items []Item, more bool, err error) {
	if err := tx.reading(r, q.Prefix); err != nil {
		return nil, false, err
	}
	tx.newest = 0
	scan := Range{Prefix: q.Prefix, After: q.from(), Values: q.Values}
	if q.Limit > 0 {
		scan.Limit = listPage
	}
	for {
		snap, err := tx.c.Snapshot(r, scan)
		if err != nil {
			return nil, false, tx.doomed(err)
		}
		page, err := tx.scanned(scan, snap)
		if err != nil {
			return nil, false, err
		}
		for i := range page {
			name, folded := q.fold(page[i].Key)
			switch {
			case !page[i].Live || name <= q.After && q.After != "":
				continue
			case folded && len(items) > 0 && items[len(items)-1].Name == name:
				continue
			case q.Limit > 0 && len(items) == q.Limit:
				return items, true, nil
			}
			item := Item{Name: name, Folded: folded}
			if !folded {
				item.Value = page[i].Value
			}
			items = append(items, item)
		}
		if !snap.More {
			return items, false, nil
		}
		scan.After = snap.UpTo
	}
}

// Newest returns the newest timestamp, those of deletions included, among what the
// last List had to read.
func (tx *Tx) Newest() uint64 { return tx.newest }

// scanned remembers a page and puts into it what the transaction wrote there.
func (tx *Tx) scanned(q Range, snap Snapshot) ([]KeyValue, error) {
	read := rangeRead{q: q, keys: make(map[string]seen, len(snap.Keys))}
	if snap.More {
		read.q.UpTo = snap.UpTo
	}
	read.q.Limit, read.q.Values = 0, false
	bytes := 0
	for i := range snap.Keys {
		tx.newest = max(tx.newest, snap.Keys[i].Stamp())
		bytes += len(snap.Keys[i].Data)
		read.keys[snap.Keys[i].Key] = sight(&snap.Keys[i].Value)
	}
	tx.ranges = append(tx.ranges, read)
	if err := tx.count(len(snap.Keys), bytes); err != nil {
		return nil, err
	}
	page, added := snap.Keys, []KeyValue(nil)
	for key, w := range tx.writes {
		if !read.q.holds(key) {
			continue
		}
		i, ok := slices.BinarySearchFunc(page, key, func(kv KeyValue, key string) int { return strings.Compare(kv.Key, key) })
		if ok {
			page[i].Value = tx.leaves(&w, &page[i].Value)
		} else {
			added = append(added, KeyValue{key, w.Leaves(&register.Value{})})
		}
	}
	if len(added) > 0 {
		page = append(page, added...)
		slices.SortFunc(page, func(a, b KeyValue) int { return strings.Compare(a.Key, b.Key) })
	}
	return page, nil
}

// holds reports whether a key lies in the range.
func (q *Range) holds(key string) bool {
	return strings.HasPrefix(key, q.Prefix) && key > q.After && (q.UpTo == "" || key <= q.UpTo)
}

// leaves returns what the transaction sees of a key that it writes on top of v: in
// an interactive one without the holder that the key keeps.
func (tx *Tx) leaves(w *register.Change, v *register.Value) register.Value {
	if tx.oneShot {
		return w.Leaves(v)
	}
	return w.Leaves(&register.Value{})
}

package bank

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
)

// snapshot is all accounts and marks at one instant.
type snapshot struct {
	how, member string
	call, end   time.Duration
	balances    []int // by account
	marks       []int // by teller
}

// String says what snapshot it is.
func (s *snapshot) String() string {
	return fmt.Sprintf("the %s at %s from %.3f to %.3f s", s.how, s.member, s.call.Seconds(), s.end.Seconds())
}

// view is a way of reading many keys at one instant.
type view struct {
	name string
	// read returns what there is under the prefix.
	read func(b *Bank, at crew.Target, prefix string) ([]*backend.Entry, error)
}

func (v view) shifts(b *Bank, at crew.Target) ([]*backend.Entry, error) {
	return v.read(b, at, shiftsPrefix)
}

var views = []view{
	{"list", (*Bank).list},
	{"get-tree", (*Bank).tree},
	{"transaction of gets", (*Bank).gets},
	{"read-only transaction", (*Bank).readOnly},
}

// read takes a snapshot of the bank or looks at the doctors.
func (b *Bank) read(rng *rand.Rand, at crew.Target) {
	way := views[rng.IntN(len(views))]
	if rng.IntN(3) == 0 {
		b.watch(at, way)
		return
	}
	s, err := b.look(at, way)
	if err != nil {
		b.failed(way, at, err)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.snapshots = append(b.snapshots, s)
}

// failed judges the error of something that only reads, and waits a moment.
func (b *Bank) failed(way view, at crew.Target, err error) {
	if !b.mayEnd(err) {
		b.WentWrong("a %s at %s: %v", way.name, at.Name, err)
	}
	b.Pause(retryPause)
}

// look takes a snapshot.
func (b *Bank) look(at crew.Target, way view) (snapshot, error) {
	s := snapshot{how: way.name, member: at.Name, call: b.Now(), balances: make([]int, len(b.names)), marks: make([]int, b.cfg.Tellers)}
	entries, err := way.read(b, at, bankPrefix)
	s.end = b.Now()
	if err != nil {
		return s, err
	}
	marks := 0
	for _, e := range entries {
		if t, ok := b.isMark(e.Key); ok {
			marks++
			s.marks[t], err = strconv.Atoi(string(e.Value))
		} else if n, ok := b.account[e.Key]; ok {
			s.balances[n], err = money(e)
		} else {
			err = fmt.Errorf("there is no account %q", e.Key)
		}
		if err != nil {
			return s, err
		}
	}
	if marks != b.cfg.Tellers {
		return s, fmt.Errorf("there are %d marks of %d", marks, b.cfg.Tellers)
	}
	return s, nil
}

func (b *Bank) list(at crew.Target, prefix string) ([]*backend.Entry, error) {
	ctx, cancel := crew.Call(b.cfg.Timeout)
	defer cancel()
	page, err := at.Backend.List(ctx, backend.ListQuery{Prefix: prefix, Values: true})
	if err != nil {
		return nil, err
	}
	return entriesOf(page), nil
}

func entriesOf(page *backend.ListResult) []*backend.Entry {
	var entries []*backend.Entry
	for _, it := range page.Items {
		entries = append(entries, it.Entry)
	}
	return entries
}

func (b *Bank) tree(at crew.Target, prefix string) ([]*backend.Entry, error) {
	return b.oneShot(at, backend.TxnOp{Verb: backend.VerbGetTree, Key: prefix})
}

func (b *Bank) gets(at crew.Target, prefix string) ([]*backend.Entry, error) {
	var ops []backend.TxnOp
	for _, key := range b.keys(prefix) {
		ops = append(ops, backend.TxnOp{Verb: backend.VerbGetOrEmpty, Key: key})
	}
	return b.oneShot(at, ops...)
}

// oneShot returns the entries that exist.
func (b *Bank) oneShot(at crew.Target, ops ...backend.TxnOp) ([]*backend.Entry, error) {
	ctx, cancel := crew.Call(b.cfg.Timeout)
	defer cancel()
	result, err := transactional(at).Txn(ctx, ops)
	if err != nil {
		return nil, err
	}
	var entries []*backend.Entry
	for _, r := range result.Results {
		if r.Entry.ModifyIndex != 0 {
			entries = append(entries, r.Entry)
		}
	}
	return entries, nil
}

// keys are all that there can be under a prefix.
func (b *Bank) keys(prefix string) (keys []string) {
	if prefix == shiftsPrefix {
		for pair := range b.cfg.Shifts {
			keys = append(keys, doctorKey(pair, 0), doctorKey(pair, 1))
		}
		return keys
	}
	keys = append(keys, b.names...)
	for id := range b.cfg.Tellers {
		keys = append(keys, markKey(id))
	}
	return keys
}

// readOnly lists the marks and every other branch, and reads the other accounts one
// by one.
func (b *Bank) readOnly(at crew.Target, prefix string) (entries []*backend.Entry, err error) {
	_, err = b.inTx(at, backend.TxOptions{ReadOnly: true}, func(ctx context.Context, tx backend.Tx) error {
		entries = nil
		for branch := range b.cfg.Branches {
			if prefix == bankPrefix && branch%2 == 0 {
				if err := listIn(ctx, tx, branchPrefix(branch), &entries); err != nil {
					return err
				}
			}
		}
		if prefix == bankPrefix {
			if err := listIn(ctx, tx, marksPrefix, &entries); err != nil {
				return err
			}
		}
		for _, key := range b.keys(prefix) {
			_, mark := b.isMark(key)
			if n, ok := b.account[key]; mark || ok && n/b.cfg.Accounts%2 == 0 {
				continue
			}
			e, err := tx.Get(ctx, key)
			if err != nil {
				return err
			}
			if e != nil {
				entries = append(entries, e)
			}
		}
		return nil
	})
	return entries, err
}

func listIn(ctx context.Context, tx backend.Tx, prefix string, into *[]*backend.Entry) error {
	page, err := tx.List(ctx, backend.ListQuery{Prefix: prefix, Values: true})
	if err == nil {
		*into = append(*into, entriesOf(page)...)
	}
	return err
}

package openbao

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/openbao/openbao/sdk/v2/physical"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/hosting"
)

// maxSnapshot is the most keys that a read-only transaction takes along with its
// listings, and maxSnapshotBytes the most bytes that they and their values have.
const (
	maxSnapshot      = 4096
	maxSnapshotBytes = backend.MaxTxnSize
)

// A readOnly is a transaction whose reads are of one instant, as OpenBao expects: what
// it has listed it can get, whoever deletes it meanwhile. The backend keeps no old
// values, so the first listing under a prefix takes along all that is under it, which
// is one instant's. Above maxSnapshot keys, or maxSnapshotBytes, it does not: then only the names are. It may
// read backend.MaxTxReads times.
//
// Commit looks whether everything that was read, if it was more than one thing, is
// still as it was read, and so of one instant.
type readOnly struct {
	s *hosting.Store

	mu   sync.Mutex
	done bool
	// taken are the prefixes under which everything is known.
	taken []taken
	// room is how many more keys may be taken, and bytes how many they may have.
	room, bytes int
	// seen are the entries that were read one by one, nil for a missing one.
	seen map[string]*backend.Entry
	// names are the listings of which only the names are known.
	names []listing
}

// taken is what lies under a prefix, sorted. It is shared and not changed.
type taken struct {
	prefix string
	items  []backend.ListItem
}

// at returns the position of the first key that is not before key.
func (t *taken) at(key string) (i int, found bool) {
	return slices.BinarySearchFunc(t.items, key, func(it backend.ListItem, key string) int { return strings.Compare(it.Name, key) })
}

// A listing is a question with its answer.
type listing struct {
	q     backend.ListQuery
	names []string
}

// start returns an error if the transaction is over.
func (t *readOnly) start(ctx context.Context) error {
	if t.done {
		return physical.ErrTransactionAlreadyCommitted
	}
	return ctx.Err()
}

// known returns what was taken with a prefix of prefix, the first, or nil.
func (t *readOnly) known(prefix string) *taken {
	for i := range t.taken {
		if strings.HasPrefix(prefix, t.taken[i].prefix) {
			return &t.taken[i]
		}
	}
	return nil
}

func (t *readOnly) Get(ctx context.Context, key string) (*physical.Entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	if known := t.known(key); known != nil {
		i, found := known.at(key)
		if !found {
			return nil, nil
		}
		return entry(known.items[i].Entry.Clone()), nil
	}
	e, ok := t.seen[key]
	if !ok {
		err := t.more(key)
		if err != nil {
			return nil, err
		}
		if e, err = t.s.Get(ctx, key); err != nil {
			return nil, err
		}
		t.seen[key] = e
	}
	return entry(e.Clone()), nil
}

func (t *readOnly) List(ctx context.Context, prefix string) ([]string, error) {
	return t.ListPage(ctx, prefix, "", 0)
}

func (t *readOnly) ListPage(ctx context.Context, prefix, after string, limit int) ([]string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	q := hosting.Query(prefix, after, limit)
	known := t.known(prefix)
	if known == nil {
		if err := t.more(prefix); err != nil {
			return nil, err
		}
		var err error
		if known, err = t.take(ctx, prefix); err != nil {
			return nil, err
		}
		if known == nil {
			r, err := t.s.Snapshot(ctx, q)
			if err != nil {
				return nil, err
			}
			t.names = append(t.names, listing{q, r.Names()})
			return hosting.Names(r, prefix), nil
		}
	}
	return known.page(q), nil
}

// take takes all that is under prefix, if there is room for it, and else returns nil. It
// asks for a few entries first: how large they are says how many it may ask for.
func (t *readOnly) take(ctx context.Context, prefix string) (*taken, error) {
	for limit := hosting.FirstPage; ; {
		r, err := t.s.Snapshot(ctx, backend.ListQuery{Prefix: prefix, Values: true, Limit: limit})
		if err != nil {
			return nil, err
		}
		size := r.Size()
		if len(r.Items) > t.room || size > t.bytes || r.More && limit == maxSnapshot {
			return nil, nil
		}
		if !r.More {
			t.taken = append(t.taken, taken{prefix, r.Items})
			t.room, t.bytes = t.room-len(r.Items), t.bytes-size
			return &t.taken[len(t.taken)-1], nil
		}
		// Smaller ones may follow; this does not creep up to them.
		limit = min(maxSnapshot, max(limit*3/2, r.Fitting(maxSnapshotBytes, maxSnapshot)))
	}
}

// reads counts what was asked of the backend.
func (t *readOnly) reads() int { return len(t.taken) + len(t.seen) + len(t.names) }

// more returns an error if nothing more may be read.
func (t *readOnly) more(what string) error {
	if t.reads() == backend.MaxTxReads {
		return backend.Errorf(backend.TooLarge, what, "the transaction has read %d times, which is the limit; use a larger listing or several transactions", backend.MaxTxReads)
	}
	return nil
}

// page answers a listing of what was taken.
func (t *taken) page(q backend.ListQuery) []string {
	names := []string{}
	from, _ := t.at(q.Prefix)
	for _, it := range t.items[from:] {
		if !strings.HasPrefix(it.Name, q.Prefix) || q.Limit > 0 && len(names) == q.Limit {
			break
		}
		full, _ := q.Fold(it.Name)
		name := full[len(q.Prefix):]
		if q.After != "" && full <= q.After || len(names) > 0 && names[len(names)-1] == name {
			continue
		}
		names = append(names, name)
	}
	return names
}

func (t *readOnly) Put(_ context.Context, e *physical.Entry) error { return t.refuse(e.Key) }

func (t *readOnly) Delete(_ context.Context, key string) error { return t.refuse(key) }

func (t *readOnly) refuse(key string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return physical.ErrTransactionAlreadyCommitted
	}
	return fmt.Errorf("key %q: %w", key, physical.ErrTransactionReadOnly)
}

func (t *readOnly) Rollback(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.start(ctx)
	t.done = true
	return err
}

func (t *readOnly) Commit(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.start(ctx)
	t.done = true
	if err != nil || t.reads() <= 1 {
		return err
	}
	tx := t.s.Begin(true)
	if err := t.compare(ctx, tx); err != nil {
		_ = tx.Rollback(ctx) // the first error counts
		return txError(err)
	}
	return txError(tx.Commit(ctx))
}

// compare reads again in tx what was read, and fails unless it is the same.
func (t *readOnly) compare(ctx context.Context, tx *hosting.Tx) error {
	for _, was := range t.taken {
		is, err := tx.List(ctx, backend.ListQuery{Prefix: was.prefix, Values: true, Limit: len(was.items) + 1})
		if err != nil {
			return err
		}
		if !slices.EqualFunc(was.items, is.Items, func(a, b backend.ListItem) bool { return same(a.Entry, b.Entry) }) {
			return changed(was.prefix)
		}
	}
	for key, was := range t.seen {
		is, err := tx.Get(ctx, key)
		if err != nil {
			return err
		}
		if !same(was, is) {
			return changed(key)
		}
	}
	for _, l := range t.names {
		r, err := tx.List(ctx, l.q)
		if err != nil {
			return err
		}
		if !slices.Equal(r.Names(), l.names) {
			return changed(l.q.Prefix)
		}
	}
	return nil
}

// same reports whether two entries are one version of a key; nil is a missing one.
func same(a, b *backend.Entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Key == b.Key && a.ModifyIndex == b.ModifyIndex
}

func changed(what string) error {
	return backend.Errorf(backend.TxnConflict, what, "somebody changed what the transaction read; begin it anew")
}

package memory

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Begin starts an interactive transaction. It reads what is there when it reads,
// and Commit looks whether that is still so.
func (s *Store) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	if err := checkContext(ctx, ""); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(""); err != nil {
		return nil, err
	}
	return &tx{s: s, readOnly: opts.ReadOnly, reads: map[string]uint64{}, ops: map[string]backend.TxnOp{}}, nil
}

// A tx is an interactive transaction.
type tx struct {
	s        *Store
	readOnly bool

	mu   sync.Mutex
	done bool
	// read counts the calls of Get and List.
	read int
	// reads are the modify indexes of the keys that were read, 0 for a missing one.
	reads map[string]uint64
	lists []listRead
	// ops are the newest operations on each key; size is what their values have
	// together.
	ops  map[string]backend.TxnOp
	size int
	// pending is what ops make of the keys, as this transaction sees them. It is
	// replaced and never changed.
	pending map[string]*backend.Entry
}

// A listRead is a listing that was read: what was asked, what had been written
// by then, and a digest of the answer.
type listRead struct {
	query   backend.ListQuery
	pending map[string]*backend.Entry
	digest  [sha256.Size]byte
}

// digest tells apart listings that differ in more than the index.
func digest(res *backend.ListResult) (sum [sha256.Size]byte) {
	h := sha256.New()
	add := func(n uint64) { _, _ = h.Write(binary.BigEndian.AppendUint64(nil, n)) }
	for _, it := range res.Items {
		add(uint64(len(it.Name)))
		_, _ = h.Write([]byte(it.Name))
		add(indexOf(it.Entry))
	}
	if res.More {
		add(1)
	}
	h.Sum(sum[:0])
	return sum
}

// start returns an error unless a call may start. The caller holds t.mu.
func (t *tx) start(ctx context.Context, key string) error {
	if t.done {
		return backend.Errorf(backend.TxnDone, key, "the transaction was committed or rolled back; begin a new one")
	}
	return checkContext(ctx, key)
}

// Get returns the entry of key as the transaction sees it.
func (t *tx) Get(ctx context.Context, key string) (*backend.Entry, error) {
	if err := t.s.limits.CheckKey(key); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.startRead(ctx, key); err != nil {
		return nil, err
	}
	t.s.mu.RLock()
	defer t.s.mu.RUnlock()
	if err := t.s.checkOpen(key); err != nil {
		return nil, err
	}
	t.read++
	if e, ok := t.pending[key]; ok {
		return e.Clone(), nil
	}
	e := t.s.entries[key]
	if was, ok := t.reads[key]; ok && was != indexOf(e) {
		return nil, changed(key)
	}
	t.reads[key] = indexOf(e)
	return e.Clone(), nil
}

// List returns what lies under a prefix as the transaction sees it.
func (t *tx) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if err := t.s.limits.CheckList(q); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.startRead(ctx, ""); err != nil {
		return nil, err
	}
	t.s.mu.RLock()
	defer t.s.mu.RUnlock()
	if err := t.s.checkOpen(""); err != nil {
		return nil, err
	}
	t.read++
	res := t.s.list(q, t.pending)
	t.lists = append(t.lists, listRead{query: q, pending: t.pending, digest: digest(res)})
	return res, nil
}

// startRead returns an error unless a read may start. The caller holds t.mu.
func (t *tx) startRead(ctx context.Context, key string) error {
	if err := t.start(ctx, key); err != nil {
		return err
	}
	if t.read == backend.MaxTxReads {
		return backend.Errorf(backend.TooLarge, key, "the transaction has read %d times, which is the limit; use a larger listing or several transactions", t.read)
	}
	return nil
}

// Put stores value at key when the transaction is committed.
func (t *tx) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
	if err := t.s.limits.CheckTxPut(key, value, opts); err != nil {
		return err
	}
	value = bytes.Clone(value)
	op := backend.TxnOp{Verb: backend.VerbSet, Key: key, Value: value, Flags: opts.Flags, ExpiresAfter: opts.ExpiresAfter, Fence: opts.Fence}
	return t.write(ctx, op, &backend.Entry{Key: key, Value: value, Flags: opts.Flags, ExpiresAfter: opts.ExpiresAfter})
}

// Delete removes key when the transaction is committed.
func (t *tx) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	if err := t.s.limits.CheckTxDelete(key, opts); err != nil {
		return err
	}
	return t.write(ctx, backend.TxnOp{Verb: backend.VerbDelete, Key: key, Fence: opts.Fence}, nil)
}

// write notes an operation; e is what it makes of its key.
func (t *tx) write(ctx context.Context, op backend.TxnOp, e *backend.Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.start(ctx, op.Key); err != nil {
		return err
	}
	if t.readOnly {
		return backend.Errorf(backend.TxnReadOnly, op.Key, "the transaction was begun as read-only")
	}
	t.s.mu.RLock()
	err := t.s.checkOpen(op.Key)
	t.s.mu.RUnlock()
	if err != nil {
		return err
	}
	old, again := t.ops[op.Key]
	if !again && len(t.ops) == backend.MaxTxnOps {
		return backend.Errorf(backend.TooLarge, op.Key, "the transaction writes %d keys, and this would be too many operations; split it", len(t.ops))
	}
	size := t.size - len(old.Value) + len(op.Value)
	if err := backend.CheckTxnSize(op.Key, size); err != nil {
		return err
	}
	t.size, t.ops[op.Key] = size, op
	pending := make(map[string]*backend.Entry, len(t.ops))
	maps.Copy(pending, t.pending)
	pending[op.Key] = e
	t.pending = pending
	return nil
}

// Commit makes all writes visible in one step, unless something that was read has
// changed.
func (t *tx) Commit(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.start(ctx, "")
	t.done = true
	if err != nil {
		return err
	}
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(""); err != nil {
		return err
	}
	for key, index := range t.reads {
		if indexOf(s.entries[key]) != index {
			return changed(key)
		}
	}
	for _, l := range t.lists {
		if digest(s.list(l.query, l.pending)) != l.digest {
			return changed(l.query.Prefix)
		}
	}
	ops := make([]backend.TxnOp, 0, len(t.ops))
	for _, key := range slices.Sorted(maps.Keys(t.ops)) {
		ops = append(ops, t.ops[key])
	}
	_, err = s.run(ops)
	if e, ok := err.(*backend.Error); ok {
		return &backend.Error{Code: e.Code, Key: e.Key, Message: e.Message}
	}
	return err
}

// changed is the error about a key or prefix that was read and has changed.
func changed(key string) error {
	return backend.Errorf(backend.TxnConflict, key, "another transaction or write changed what this one read; begin it anew")
}

// Rollback ends the transaction without a trace.
func (t *tx) Rollback(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.start(ctx, "")
	t.done = true
	return err
}

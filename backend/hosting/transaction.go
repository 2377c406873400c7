package hosting

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Txn carries out operations in one step, all or none. Those that write carry the
// fence as Put does.
func (s *Store) Txn(ctx context.Context, ops []backend.TxnOp, unfenced bool) (*backend.TxnResult, error) {
	fence := s.fenceOf(unfenced)
	fenced := make([]backend.TxnOp, len(ops))
	for i, op := range ops {
		fenced[i] = op
		fenced[i].Fence = fence
	}
	return s.txn(ctx, fenced)
}

func (s *Store) txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	r, err := on(ctx, s, "", func(ctx context.Context, b backend.Backend) (*backend.TxnResult, error) {
		t, err := transactional(b)
		if err != nil {
			return nil, err
		}
		return t.Txn(ctx, ops)
	})
	return r, s.hostError("", err)
}

func transactional(b backend.Backend) (backend.Transactional, error) {
	t, ok := b.(backend.Transactional)
	if !ok {
		return nil, backend.Errorf(backend.Invalid, "", "the storage has no transactions")
	}
	return t, nil
}

// A Tx is an interactive transaction; see backend.Tx. What it writes stays with the
// host until it lists or commits: so one that only writes is a single call to the
// backend, however many keys there are. Its calls have an end, and its writes carry
// the fence as Put does. It is safe for use by many goroutines, one after the other.
type Tx struct {
	s        *Store
	readOnly bool

	mu   sync.Mutex
	over bool
	// tx is nil until something is read.
	tx backend.Tx
	// writes are the newest of each key, of which tx does not know those in untold
	// yet; size is how large their values are together.
	writes map[string]backend.TxnOp
	untold map[string]bool
	size   int
}

// Begin starts an interactive transaction.
func (s *Store) Begin(readOnly bool) *Tx {
	return &Tx{s: s, readOnly: readOnly, writes: map[string]backend.TxnOp{}, untold: map[string]bool{}}
}

// begun returns the backend's transaction.
func (t *Tx) begun(ctx context.Context) (backend.Tx, error) {
	if t.tx != nil {
		return t.tx, nil
	}
	tx, err := on(ctx, t.s, "", func(ctx context.Context, b backend.Backend) (backend.Tx, error) {
		can, err := transactional(b)
		if err != nil {
			return nil, err
		}
		return can.Begin(ctx, backend.TxOptions{ReadOnly: t.readOnly})
	})
	if err == nil {
		t.tx = tx
	}
	return t.tx, err
}

// start returns an error if the transaction is over.
func (t *Tx) start(key string) error {
	if t.over {
		return backend.Errorf(backend.TxnDone, key, "the transaction was committed or rolled back; begin a new one")
	}
	return nil
}

// failed is the error of a call to the backend's transaction. That ends with a plugin, and
// when nobody uses it for long: the caller, who has not ended it, must not believe that it
// has happened.
func (t *Tx) failed(key string, err error) error {
	switch code := backend.CodeOf(err); {
	case code == backend.Closed && t.s.restarts && t.s.life.Err() == nil:
		return backend.Errorf(backend.TxnConflict, key, "the storage plugin has died, and nothing of the transaction has happened; begin it anew: %w", err)
	case code == backend.TxnDone:
		return backend.Errorf(backend.TxnConflict, key, "the storage has rolled the transaction back, and nothing of it has happened; begin it anew: %v", err) // and is no TxnDone
	}
	return t.s.hostError(key, err)
}

// Get returns the entry of key as the transaction sees it, or nil.
func (t *Tx) Get(ctx context.Context, key string) (*backend.Entry, error) {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.start(key); err != nil {
		return nil, err
	}
	if op, wrote := t.writes[key]; wrote {
		if op.Verb == backend.VerbDelete {
			return nil, nil
		}
		return &backend.Entry{Key: key, Value: bytes.Clone(op.Value)}, nil
	}
	tx, err := t.begun(ctx)
	if err != nil {
		return nil, err
	}
	e, err := tx.Get(ctx, key)
	return e, t.failed(key, err)
}

// List answers q as the transaction sees it.
func (t *Tx) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.start(q.Prefix); err != nil {
		return nil, err
	}
	tx, err := t.begun(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.tell(ctx, tx); err != nil {
		return nil, err
	}
	r, err := tx.List(ctx, q)
	return r, t.failed(q.Prefix, err)
}

// tell tells the backend's transaction what was written.
func (t *Tx) tell(ctx context.Context, tx backend.Tx) error {
	for _, key := range slices.Sorted(maps.Keys(t.untold)) {
		op := t.writes[key]
		var err error
		if op.Verb == backend.VerbDelete {
			err = tx.Delete(ctx, key, backend.DeleteOptions{Fence: op.Fence})
		} else {
			err = tx.Put(ctx, key, op.Value, backend.PutOptions{Fence: op.Fence})
		}
		if err != nil {
			return t.failed(key, err)
		}
		delete(t.untold, key)
	}
	return nil
}

// Put stores value at key. More than backend.MaxTxnOps keys, or values of more than
// backend.MaxTxnSize bytes together, are TooLarge. The fence is judged at Commit.
func (t *Tx) Put(key string, value []byte, unfenced bool) error {
	opts := backend.PutOptions{Fence: t.s.fenceOf(unfenced)}
	if err := t.s.limits.CheckTxPut(key, value, opts); err != nil {
		return t.s.hostError(key, err)
	}
	return t.write(backend.TxnOp{Verb: backend.VerbSet, Key: key, Value: bytes.Clone(value), Fence: opts.Fence})
}

// Delete removes key.
func (t *Tx) Delete(key string, unfenced bool) error {
	opts := backend.DeleteOptions{Fence: t.s.fenceOf(unfenced)}
	if err := t.s.limits.CheckTxDelete(key, opts); err != nil {
		return t.s.hostError(key, err)
	}
	return t.write(backend.TxnOp{Verb: backend.VerbDelete, Key: key, Fence: opts.Fence})
}

func (t *Tx) write(op backend.TxnOp) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.start(op.Key); err != nil {
		return err
	}
	if t.readOnly {
		return backend.Errorf(backend.TxnReadOnly, op.Key, "the transaction is read-only; begin one that may write")
	}
	old, again := t.writes[op.Key]
	size := t.size + len(op.Value) - len(old.Value)
	if err := backend.CheckTxnSize(op.Key, size); err != nil {
		return err
	}
	if !again && len(t.writes) == backend.MaxTxnOps {
		return backend.Errorf(backend.TooLarge, op.Key, "a transaction may write %d keys; split it", backend.MaxTxnOps)
	}
	t.writes[op.Key], t.untold[op.Key], t.size = op, true, size
	return nil
}

// Commit makes all writes visible in one step, or none.
func (t *Tx) Commit(ctx context.Context) error {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.start(""); err != nil {
		return err
	}
	t.over = true
	switch {
	case t.tx != nil:
		if err := t.tell(ctx, t.tx); err != nil {
			_ = t.tx.Rollback(ctx) // the first error counts
			return err
		}
		return t.failed("", t.tx.Commit(ctx))
	case len(t.writes) == 0:
		return ctx.Err()
	}
	var ops []backend.TxnOp
	for _, key := range slices.Sorted(maps.Keys(t.writes)) {
		ops = append(ops, t.writes[key])
	}
	_, err := t.s.txn(ctx, ops)
	return err
}

// Rollback ends the transaction without a trace.
func (t *Tx) Rollback(ctx context.Context) error {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.start(""); err != nil {
		return err
	}
	t.over = true
	if t.tx == nil {
		return nil
	}
	switch err := t.tx.Rollback(ctx); backend.CodeOf(err) {
	case backend.Closed, backend.TxnDone: // it has ended with its plugin, or by itself
		return nil
	default:
		return err
	}
}

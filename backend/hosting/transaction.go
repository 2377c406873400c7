package hosting

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Txn carries out operations in one step, all or none. Those that write carry the
// fence as Put does.
func (s *Store) Txn(ctx context.Context, ops []backend.TxnOp, unfenced bool) (*backend.TxnResult, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	t, err := s.transactional(ctx)
	if err != nil {
		return nil, err
	}
	fence := s.fenceOf(unfenced)
	fenced := make([]backend.TxnOp, len(ops))
	for i, op := range ops {
		fenced[i] = op
		fenced[i].Fence = fence
	}
	r, err := t.Txn(ctx, fenced)
	return r, s.hostError("", err)
}

// Begin starts an interactive transaction, whose calls have an end and whose writes
// carry the fence as Put does.
func (s *Store) Begin(ctx context.Context, readOnly bool) (*Tx, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	t, err := s.transactional(ctx)
	if err != nil {
		return nil, err
	}
	tx, err := t.Begin(ctx, backend.TxOptions{ReadOnly: readOnly})
	if err != nil {
		return nil, err
	}
	return &Tx{s: s, tx: tx}, nil
}

func (s *Store) transactional(ctx context.Context) (backend.Transactional, error) {
	b, err := s.backend(ctx, "")
	if err != nil {
		return nil, err
	}
	t, ok := b.(backend.Transactional)
	if !ok {
		return nil, backend.Errorf(backend.Invalid, "", "the storage has no transactions")
	}
	return t, nil
}

// A Tx is an interactive transaction; see backend.Tx.
type Tx struct {
	s  *Store
	tx backend.Tx
}

// Get returns the entry of key as the transaction sees it, or nil.
func (t *Tx) Get(ctx context.Context, key string) (*backend.Entry, error) {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	return t.tx.Get(ctx, key)
}

// List answers q as the transaction sees it.
func (t *Tx) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	return t.tx.List(ctx, q)
}

// Put stores value at key. The fence is judged at Commit.
func (t *Tx) Put(ctx context.Context, key string, value []byte, unfenced bool) error {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	return t.s.hostError(key, t.tx.Put(ctx, key, value, backend.PutOptions{Fence: t.s.fenceOf(unfenced)}))
}

// Delete removes key.
func (t *Tx) Delete(ctx context.Context, key string, unfenced bool) error {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	return t.s.hostError(key, t.tx.Delete(ctx, key, backend.DeleteOptions{Fence: t.s.fenceOf(unfenced)}))
}

// Commit makes all writes visible in one step, or none.
func (t *Tx) Commit(ctx context.Context) error {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	return t.s.hostError("", t.tx.Commit(ctx))
}

// Rollback ends the transaction without a trace.
func (t *Tx) Rollback(ctx context.Context) error {
	ctx, cancel := t.s.bounded(ctx)
	defer cancel()
	return t.tx.Rollback(ctx)
}

package openbao

import (
	"context"
	"fmt"

	"github.com/openbao/openbao/sdk/v2/physical"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/hosting"
)

var (
	_ physical.Transactional = transactions{}
	_ physical.Transaction   = (*transaction)(nil)
	_ physical.Transaction   = (*readOnly)(nil)
)

// transactions is what a backend with transactions can do.
type transactions struct{ s *hosting.Store }

func (b transactions) BeginTx(ctx context.Context) (physical.Transaction, error) {
	return &transaction{b.s.Begin(false)}, ctx.Err()
}

func (b transactions) BeginReadOnlyTx(ctx context.Context) (physical.Transaction, error) {
	return &readOnly{s: b.s, room: maxSnapshot, bytes: maxSnapshotBytes, seen: map[string]*backend.Entry{}}, ctx.Err()
}

// txError makes err one that OpenBao knows: errors.Is finds the SDK's error and the
// backend's.
func txError(err error) error {
	switch backend.CodeOf(err) {
	case backend.TxnConflict:
		return fmt.Errorf("%w: %w", physical.ErrTransactionCommitFailure, err)
	case backend.TxnReadOnly:
		return fmt.Errorf("%w: %w", physical.ErrTransactionReadOnly, err)
	case backend.TxnDone:
		return fmt.Errorf("%w: %w", physical.ErrTransactionAlreadyCommitted, err)
	}
	return err
}

// A transaction reads and writes. Two reads may be of different instants; if what was
// read is not true any more at the end, Commit fails, or a read before it.
type transaction struct{ tx *hosting.Tx }

func (t *transaction) Put(ctx context.Context, e *physical.Entry) error {
	return txError(t.tx.Put(e.Key, e.Value, physical.IsUnfencedWrite(ctx)))
}

func (t *transaction) Get(ctx context.Context, key string) (*physical.Entry, error) {
	e, err := t.tx.Get(ctx, key)
	return entry(e), txError(err)
}

func (t *transaction) Delete(ctx context.Context, key string) error {
	return txError(t.tx.Delete(key, physical.IsUnfencedWrite(ctx)))
}

func (t *transaction) List(ctx context.Context, prefix string) ([]string, error) {
	return t.ListPage(ctx, prefix, "", 0)
}

func (t *transaction) ListPage(ctx context.Context, prefix, after string, limit int) ([]string, error) {
	r, err := t.tx.List(ctx, hosting.Query(prefix, after, limit))
	if err != nil {
		return nil, txError(err)
	}
	return hosting.Names(r, prefix), nil
}

func (t *transaction) Commit(ctx context.Context) error { return txError(t.tx.Commit(ctx)) }

func (t *transaction) Rollback(ctx context.Context) error { return txError(t.tx.Rollback(ctx)) }

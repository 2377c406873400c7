package backend

import "context"

// TxOptions change an interactive transaction. The zero value reads and writes.
type TxOptions struct {
	// ReadOnly makes Put and Delete fail with TxnReadOnly.
	ReadOnly bool
}

// Tx is an interactive transaction. Writes are kept back until Commit. It is safe
// for use by many goroutines.
//
// What it read is true at one instant, the same at which its writes happen, if
// Commit succeeds, and only then: until that, two reads may be of different
// instants. A read that can no longer be part of that fails with TxnConflict at
// once, or Commit does. A transaction that was told TxnConflict can not commit;
// begin it anew.
//
// After Commit or Rollback, whatever they returned, every call fails with
// TxnDone. One of them must be called. A call that fails otherwise leaves the
// transaction as it was.
type Tx interface {
	// Get returns the entry of key as the transaction sees it, or nil. An entry
	// that the transaction itself wrote has no indexes, session or lock yet: they
	// come with Commit. More than MaxTxReads reads are TooLarge.
	Get(ctx context.Context, key string) (*Entry, error)

	// List returns what lies under a prefix as the transaction sees it. It is safe
	// from phantoms: a key that appears in what was listed, or disappears from it,
	// is a conflict. It counts as one read.
	List(ctx context.Context, q ListQuery) (*ListResult, error)

	// Put stores value at key. A condition is Invalid: read the key instead. More
	// than MaxTxnOps keys, or values of more than MaxTxnSize bytes together, are
	// TooLarge. A Fence is judged at Commit.
	Put(ctx context.Context, key string, value []byte, opts PutOptions) error

	// Delete removes key, under the same limits.
	Delete(ctx context.Context, key string, opts DeleteOptions) error

	// Commit makes all writes visible in one step, or none. It fails with
	// TxnConflict when something that was read has changed, also if nothing was
	// written, and with Fenced for an outdated fence.
	Commit(ctx context.Context) error

	// Rollback ends the transaction without a trace.
	Rollback(ctx context.Context) error
}

// CheckTxPut returns an error unless Tx.Put could carry it out.
func (l Limits) CheckTxPut(key string, value []byte, opts PutOptions) error {
	if err := l.CheckPut(key, value, opts); err != nil {
		return err
	}
	return checkNoCondition(key, opts.If)
}

// CheckTxDelete returns an error unless Tx.Delete could carry it out.
func (l Limits) CheckTxDelete(key string, opts DeleteOptions) error {
	if err := l.CheckDelete(key, opts); err != nil {
		return err
	}
	return checkNoCondition(key, opts.If)
}

func checkNoCondition(key string, cond Condition) error {
	if _, ok := cond.Index(); ok {
		return Errorf(Invalid, key, "a condition has no place in an interactive transaction; read the key in it instead")
	}
	return nil
}

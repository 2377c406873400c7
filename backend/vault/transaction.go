package vault

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/sdk/physical"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/hosting"
)

// transactions is what a backend with transactions can do.
type transactions struct{ s *hosting.Store }

// Transaction carries out all operations in one step, or none. What is to be read gets
// the value that was there before, as Vault's own storages give it.
func (b transactions) Transaction(ctx context.Context, entries []*physical.TxnEntry) error {
	var reads, writes []backend.TxnOp
	var read []*physical.Entry
	for _, e := range entries {
		switch op := (backend.TxnOp{Key: e.Entry.Key}); e.Operation {
		case physical.GetOperation:
			op.Verb = backend.VerbGetOrEmpty
			reads, read = append(reads, op), append(read, e.Entry)
		case physical.PutOperation:
			op.Verb, op.Value = backend.VerbSet, e.Entry.Value
			writes = append(writes, op)
		case physical.DeleteOperation:
			op.Verb = backend.VerbDelete
			writes = append(writes, op)
		default:
			return fmt.Errorf("a transaction cannot %q; it can get, put and delete", e.Operation)
		}
	}
	r, err := b.s.Txn(ctx, append(reads, writes...), unfenced(ctx))
	if err != nil {
		return err
	}
	for i, e := range read {
		if value := r.Results[i].Entry.Value; value != nil {
			e.Value = value
		}
	}
	return nil
}

// TransactionLimits are those of the contract. Keys do not count as size.
func (transactions) TransactionLimits() (maxEntries, maxSize int) {
	return backend.MaxTxnOps, backend.MaxTxnSize
}

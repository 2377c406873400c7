package chord

import (
	"context"
	"sync/atomic"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

var _ backend.Transactional = (*Node)(nil)

var verbs = map[backend.Verb]txn.Verb{
	backend.VerbSet: txn.Set, backend.VerbCAS: txn.CAS,
	backend.VerbDelete: txn.Delete, backend.VerbDeleteCAS: txn.DeleteCAS, backend.VerbDeleteTree: txn.DeleteTree,
	backend.VerbGet: txn.Get, backend.VerbGetOrEmpty: txn.GetOrEmpty, backend.VerbGetTree: txn.GetTree,
	backend.VerbCheckIndex: txn.CheckIndex, backend.VerbCheckNotExists: txn.CheckNotExists,
	backend.VerbCheckSession: txn.CheckSession, backend.VerbLock: txn.Lock, backend.VerbUnlock: txn.Unlock,
}

// Txn implements backend.Transactional.
func (n *Node) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	if err := n.limits.CheckTxn(ops); err != nil {
		return nil, err
	}
	if _, err := n.serving(ctx, ""); err != nil {
		return nil, err
	}
	todo := n.operations(ops)
	for i := range todo {
		if op := &todo[i]; op.Fenced { // which nobody else is told of
			n.fences.refused("refused", &register.Refusal{Key: op.Key, From: n.id.Node(), Fence: op.Fence, InForce: n.fences.inForce(op.Fence.Key)})
		}
	}
	results, err := n.txns.Run(registers{n, ctx}, todo)
	if txn.KindOf(err) == txn.Fenced {
		// Nothing happened. What is outdated is to be said of each operation.
		for i := range ops {
			if lock := ops[i].Fence.Key; lock != "" {
				if err := n.fences.ask(ctx, lock); err != nil {
					return nil, err
				}
			}
		}
		results, err = n.txns.Run(registers{n, ctx}, n.operations(ops))
	}
	if err != nil {
		return nil, failure(err, backend.TxnConflict)
	}
	res := &backend.TxnResult{Results: make([]backend.TxnOpResult, len(results))}
	for i := range results {
		res.Results[i] = opResult(ops[results[i].Op].Verb, &results[i])
	}
	return res, nil
}

// operations are ops as package txn takes them.
func (n *Node) operations(ops []backend.TxnOp) []txn.Op {
	todo := make([]txn.Op, len(ops))
	for i := range ops {
		op := &ops[i]
		todo[i] = txn.Op{Verb: verbs[op.Verb], Key: op.Key, Data: op.Value, Flags: op.Flags, Index: op.Index, Session: sessionID(op.Session), Fence: register.Fence(op.Fence), Fenced: n.fences.outdated(op.Fence)}
		if op.Verb == backend.VerbSet || op.Verb == backend.VerbCAS {
			todo[i].Expires = op.ExpiresAfter
		}
	}
	return todo
}

// opResult is what an operation returned.
func opResult(verb backend.Verb, res *txn.Result) backend.TxnOpResult {
	e := ownEntry(res.Key, &res.Value)
	if e == nil {
		e = &backend.Entry{Key: res.Key}
	}
	switch verb {
	case backend.VerbGet, backend.VerbGetOrEmpty, backend.VerbGetTree:
	default:
		e.Value = nil
	}
	return backend.TxnOpResult{Op: res.Op, Entry: e}
}

// Begin implements backend.Transactional. A transaction may be a minute old when it
// commits.
func (n *Node) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	if _, err := n.serving(ctx, ""); err != nil {
		return nil, err
	}
	tx, err := n.txns.Begin(registers{n, ctx}, opts.ReadOnly)
	if err != nil {
		return nil, failure(err, backend.TxnConflict)
	}
	return &transaction{node: n, free: make(chan struct{}, 1), tx: tx}, nil
}

// transaction is an interactive transaction.
type transaction struct {
	node *Node
	// free has room for the one call that is under way.
	free chan struct{}
	tx   *txn.Tx
	// ended: the call that is the last has had its turn, or has given up waiting for it.
	ended atomic.Bool
}

// enter waits until no other call is under way, and returns why this one may not be.
func (t *transaction) enter(ctx context.Context, key string) error {
	if t.ended.Load() {
		return over(key)
	}
	select {
	case t.free <- struct{}{}:
	case <-ctx.Done():
		return t.node.usable(ctx, key)
	}
	err := t.node.usable(ctx, key)
	if t.ended.Load() { // which is said first
		err = over(key)
	}
	if err != nil {
		t.leave()
	}
	return err
}

func (t *transaction) leave() { <-t.free }

func over(key string) error {
	return backend.Errorf(backend.TxnDone, key, "the transaction was committed or rolled back before; begin another")
}

// call makes one call after the other, and returns its error.
func (t *transaction) call(ctx context.Context, key string, f func(r registers) error) error {
	if err := t.enter(ctx, key); err != nil {
		return err
	}
	defer t.leave()
	return failure(f(registers{t.node, ctx}), backend.TxnConflict)
}

// Get implements backend.Tx.
func (t *transaction) Get(ctx context.Context, key string) (e *backend.Entry, err error) {
	if err := t.node.limits.CheckKey(key); err != nil {
		return nil, err
	}
	err = t.call(ctx, key, func(r registers) error {
		v, err := t.tx.Get(r, key)
		if err == nil {
			e = ownEntry(key, &v)
		}
		return err
	})
	return e, err
}

// List implements backend.Tx.
func (t *transaction) List(ctx context.Context, q backend.ListQuery) (res *backend.ListResult, err error) {
	if err := t.node.limits.CheckList(q); err != nil {
		return nil, err
	}
	err = t.call(ctx, q.Prefix, func(r registers) error {
		items, more, err := t.tx.List(r, txn.Query{Prefix: q.Prefix, Separator: q.Separator, After: q.After, Limit: max(q.Limit, 0), Values: q.Values})
		if err != nil {
			return err
		}
		res = &backend.ListResult{Items: make([]backend.ListItem, len(items)), More: more, Index: t.tx.Newest()}
		for i := range items {
			it := &items[i]
			res.Items[i] = backend.ListItem{Name: it.Name, Folded: it.Folded}
			if q.Values && !it.Folded {
				res.Items[i].Entry = ownEntry(it.Name, &it.Value)
			}
		}
		return nil
	})
	return res, err
}

// Put implements backend.Tx.
func (t *transaction) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
	if err := t.node.limits.CheckTxPut(key, value, opts); err != nil {
		return err
	}
	return t.call(ctx, key, func(r registers) error {
		err := t.tx.Fence(register.Fence(opts.Fence))
		if err == nil {
			err = t.tx.Put(r, key, value, opts.Flags, opts.ExpiresAfter)
		}
		return err
	})
}

// Delete implements backend.Tx.
func (t *transaction) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	if err := t.node.limits.CheckTxDelete(key, opts); err != nil {
		return err
	}
	return t.call(ctx, key, func(r registers) error {
		err := t.tx.Fence(register.Fence(opts.Fence))
		if err == nil {
			err = t.tx.Delete(r, key)
		}
		return err
	})
}

// Commit implements backend.Tx.
func (t *transaction) Commit(ctx context.Context) error {
	return t.end(ctx, func(r registers) error {
		_, err := t.tx.Commit(r)
		return err
	})
}

// Rollback implements backend.Tx.
func (t *transaction) Rollback(ctx context.Context) error {
	return t.end(ctx, func(registers) error { return t.tx.Rollback() })
}

// end makes the call that is the last, whatever it returns. Where another is under way
// it waits for its turn, but no longer than ctx lasts.
func (t *transaction) end(ctx context.Context, f func(r registers) error) error {
	err := t.enter(ctx, "")
	if err == nil {
		defer t.leave()
	}
	if t.ended.Swap(true) {
		return over("")
	}
	if err != nil {
		return err
	}
	return failure(f(registers{t.node, ctx}), backend.TxnConflict)
}

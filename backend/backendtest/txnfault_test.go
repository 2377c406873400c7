package backendtest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/chord-plugin/chord-plugin/backend"
)

var txnFaults = []fault{
	{name: "operations are carried out one by one", caught: []string{
		"a transaction changes all of its keys or none", "every operation that failed is reported", "Update stores all values or none", "no List sees half a transaction",
		"get-tree and delete-tree see one instant", "one-shot bank transfers keep the total",
	}, breaks: func(h *hooks) {
		var w window
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			defer w.enter()
			return h.Backend.Put(ctx, key, value, opts)
		}
		h.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
			all := &backend.TxnResult{}
			for i, op := range ops {
				res, err := h.Backend.Txn(ctx, []backend.TxnOp{op})
				if err != nil {
					var e *backend.Error
					if errors.As(err, &e) && len(e.Ops) > 0 {
						e.Ops[0].Op = i
					}
					return nil, err
				}
				for _, r := range res.Results {
					all.Results = append(all.Results, backend.TxnOpResult{Op: i, Entry: r.Entry})
				}
				w.enter()
			}
			return all, nil
		}
	}},
	{name: "a transaction needs operations", caught: []string{"a transaction without operations works"}, breaks: func(h *hooks) {
		h.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
			if len(ops) == 0 {
				return nil, backend.Errorf(backend.Invalid, "", "no operations")
			}
			return h.Backend.Txn(ctx, ops)
		}
	}},
	{name: "all operations see the state before the transaction", caught: []string{"operations see what those before them wrote"}, breaks: func(h *hooks) {
		h.ops(func(ops []backend.TxnOp) []backend.TxnOp {
			writes := []backend.Verb{backend.VerbSet, backend.VerbCAS, backend.VerbDelete, backend.VerbDeleteTree}
			slices.SortStableFunc(ops, func(a, b backend.TxnOp) int {
				switch aw, bw := slices.Contains(writes, a.Verb), slices.Contains(writes, b.Verb); {
				case aw == bw:
					return 0
				case aw:
					return 1
				}
				return -1
			})
			return ops
		})
	}},
	{name: "cas ignores its index", caught: []string{"set and cas store what Put stores", "one-shot bank transfers keep the total"}, breaks: func(h *hooks) {
		h.op(func(op *backend.TxnOp) {
			if op.Verb == backend.VerbCAS {
				op.Verb = backend.VerbSet
			}
			runtime.Gosched()
		})
	}},
	{name: "set drops the flags", caught: []string{"set and cas store what Put stores"}, breaks: func(h *hooks) {
		h.op(func(op *backend.TxnOp) { op.Flags = 0 })
	}},
	{name: "a transaction keeps the caller's slices", caught: []string{"the value passed to a transaction is not kept"}, breaks: func(h *hooks) {
		var kept sync.Map
		h.op(func(op *backend.TxnOp) {
			if op.Verb == backend.VerbSet {
				kept.Store(op.Key, op.Value)
			}
		})
		h.entry(func(key string, e *backend.Entry) *backend.Entry {
			if value, ok := kept.Load(key); ok && e != nil {
				e.Value = value.([]byte)
			}
			return e
		})
	}},
	{name: "delete-cas ignores its index", caught: []string{"delete, delete-cas and delete-tree delete"}, breaks: func(h *hooks) {
		h.op(func(op *backend.TxnOp) {
			if op.Verb == backend.VerbDeleteCAS {
				op.Verb = backend.VerbDelete
			}
		})
	}},
	{name: "delete-tree removes its prefix as a key", caught: []string{"delete, delete-cas and delete-tree delete", "get-tree and delete-tree see one instant"}, breaks: func(h *hooks) {
		h.op(func(op *backend.TxnOp) {
			if op.Verb == backend.VerbDeleteTree {
				op.Verb = backend.VerbDelete
			}
		})
	}},
	{name: "get-or-empty needs the key", caught: []string{"get, get-or-empty and get-tree read"}, breaks: func(h *hooks) {
		h.op(func(op *backend.TxnOp) {
			if op.Verb == backend.VerbGetOrEmpty {
				op.Verb = backend.VerbGet
			}
		})
	}},
	{name: "checks do not check", caught: []string{"check-index, check-not-exists and check-session check", "a key has one holder", "the lock verb makes a session the holder"}, breaks: func(h *hooks) {
		h.op(func(op *backend.TxnOp) {
			switch op.Verb {
			case backend.VerbCheckIndex, backend.VerbCheckNotExists, backend.VerbCheckSession:
				op.Verb = backend.VerbGetOrEmpty
			}
		})
	}},
	{name: "only the first failed operation is reported", caught: []string{"every operation that failed is reported", "only a live session can hold a key"}, breaks: func(h *hooks) {
		h.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
			res, err := h.Backend.Txn(ctx, ops)
			var e *backend.Error
			if errors.As(err, &e) && len(e.Ops) > 1 {
				e.Ops = e.Ops[:1]
			}
			return res, err
		}
	}},
	{name: "results are numbered by themselves", caught: []string{"results name their operation and come in order", "get, get-or-empty and get-tree read"}, breaks: func(h *hooks) {
		h.results(func(i int, r *backend.TxnOpResult) { r.Op = i })
	}},
	{name: "a result has the index from before the change", caught: []string{"results name their operation and come in order"}, breaks: func(h *hooks) {
		h.results(func(_ int, r *backend.TxnOpResult) {
			if r.Entry.Value == nil {
				r.Entry.ModifyIndex = r.Entry.CreateIndex
			}
		})
	}},
	{name: "a long transaction is split", caught: []string{"a transaction has at most 128 operations"}, breaks: func(h *hooks) {
		h.txn = func(ctx context.Context, ops []backend.TxnOp) (res *backend.TxnResult, err error) {
			for part := range slices.Chunk(ops, backend.MaxTxnOps) {
				if res, err = h.Backend.Txn(ctx, part); err != nil {
					return nil, err
				}
			}
			return res, nil
		}
	}},
	{name: "a large transaction is split", caught: []string{"the values of a transaction have at most 8 MiB"}, breaks: func(h *hooks) {
		h.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
			res, err := h.Backend.Txn(ctx, ops)
			if last := len(ops) - 1; backend.CodeOf(err) == backend.TooLarge && last > 0 {
				if res, err = h.Backend.Txn(ctx, ops[:last]); err == nil {
					res, err = h.Backend.Txn(ctx, ops[last:])
				}
			}
			return res, err
		}
	}},
	{name: "delete-tree has no limit", caught: []string{"delete-tree removes at most 4,096 keys"}, breaks: func(h *hooks) {
		h.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
			res, err := h.Backend.Txn(ctx, ops)
			if backend.CodeOf(err) == backend.TooLarge {
				for _, op := range ops {
					if res, err = h.Backend.Txn(ctx, []backend.TxnOp{op}); err != nil {
						return nil, err
					}
				}
			}
			return res, err
		}
	}},
	{name: "what can not work is left out", caught: []string{"a transaction with what can never work is refused whole"}, breaks: func(h *hooks) {
		h.ops(func(ops []backend.TxnOp) []backend.TxnOp {
			return slices.DeleteFunc(ops, func(op backend.TxnOp) bool { return h.Limits().CheckTxn([]backend.TxnOp{op}) != nil })
		})
	}},
}

// listWindow returns a window whose events are the listings that have ended, so
// that one falls into it that began in it when it waits for two.
func (h *hooks) listWindow() *window {
	w := new(window)
	h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
		defer w.events.Add(1)
		return h.Backend.List(ctx, q)
	}
	return w
}

// results changes what Txn returns.
func (h *hooks) results(change func(i int, r *backend.TxnOpResult)) {
	h.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
		res, err := h.Backend.Txn(ctx, ops)
		if err == nil {
			for i := range res.Results {
				change(i, &res.Results[i])
			}
		}
		return res, err
	}
}

var txFaults = []fault{
	{name: "a transaction writes at once", caught: []string{
		"a transaction reads its own writes, and nobody else does before Commit", "Rollback leaves no trace", "no List sees half a transaction",
	}, breaks: func(h *hooks) {
		w := h.listWindow()
		h.tx(func(t *txHooks) {
			t.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
				if _, err := h.Backend.Put(ctx, key, value, opts); err != nil {
					return err
				}
				w.linger(2)
				return t.Tx.Put(ctx, key, value, opts)
			}
		})
	}},
	{name: "a commit writes key by key", caught: []string{"no List sees half a transaction", "interactive bank transfers keep the total"}, breaks: func(h *hooks) {
		w := h.listWindow()
		h.tx(func(t *txHooks) {
			var puts []func(ctx context.Context) error
			t.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
				puts = append(puts, func(ctx context.Context) error {
					_, err := h.Backend.Put(ctx, key, value, opts)
					return err
				})
				return nil
			}
			t.commit = func(ctx context.Context) error {
				err := t.Tx.Commit(ctx)
				for _, put := range puts {
					if err == nil {
						err = put(ctx)
						w.linger(2)
					}
				}
				return err
			}
		})
	}},
	{name: "what a transaction read is not checked", caught: []string{
		"a transaction that read what has changed can not commit", "of two transactions that read and write one key one commits", "write skew is refused",
		"a read-only transaction that commits saw one instant", "transactions are strictly serializable", "interactive bank transfers keep the total", "a transaction is over once",
	}, breaks: func(h *hooks) {
		var w window
		h.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
			defer w.events.Add(1)
			return h.Backend.Txn(ctx, ops)
		}
		h.tx(func(t *txHooks) {
			wrote := map[string]bool{}
			t.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
				wrote[key] = true
				return t.Tx.Put(ctx, key, value, opts)
			}
			t.get = func(ctx context.Context, key string) (*backend.Entry, error) {
				w.enter()
				if wrote[key] {
					return t.Tx.Get(ctx, key)
				}
				return h.Backend.Get(ctx, key, backend.GetOptions{})
			}
		})
	}},
	{name: "Get in a transaction sees what is stored", caught: []string{"a transaction reads its own writes, and nobody else does before Commit"}, breaks: func(h *hooks) {
		h.tx(func(t *txHooks) {
			t.get = func(ctx context.Context, key string) (*backend.Entry, error) {
				return h.Backend.Get(ctx, key, backend.GetOptions{})
			}
		})
	}},
	{name: "List in a transaction sees what is stored", caught: []string{"a List in a transaction shows what is stored under what it wrote", "a List in a transaction is safe from phantoms"}, breaks: func(h *hooks) {
		h.tx(func(t *txHooks) { t.list = h.Backend.List })
	}},
	{name: "the bytes of a transaction are shared", caught: []string{"the bytes of a transaction are its caller's"}, breaks: func(h *hooks) {
		h.tx(func(t *txHooks) {
			kept := map[string]*backend.Entry{}
			t.get = func(ctx context.Context, key string) (*backend.Entry, error) {
				e, err := t.Tx.Get(ctx, key)
				if kept[key] == nil {
					kept[key] = e
				}
				return kept[key], err
			}
		})
	}},
	{name: "a commit drops the flags", caught: []string{"a commit gives every key what Put would"}, breaks: func(h *hooks) {
		h.tx(func(t *txHooks) {
			t.put = func(ctx context.Context, key string, value []byte, _ backend.PutOptions) error {
				return t.Tx.Put(ctx, key, value, backend.PutOptions{})
			}
		})
	}},
	{name: "Rollback commits", caught: []string{"Rollback leaves no trace"}, breaks: func(h *hooks) {
		h.tx(func(t *txHooks) { t.rollback = t.Tx.Commit })
	}},
	{name: "a transaction may end twice", caught: []string{"a transaction is over once"}, breaks: func(h *hooks) {
		h.tx(func(t *txHooks) {
			t.commit = func(ctx context.Context) error { return ignore(t.Tx.Commit(ctx), backend.TxnDone) }
		})
	}},
	{name: "every transaction may write", caught: []string{"a read-only transaction refuses writes"}, breaks: func(h *hooks) {
		h.begin = func(ctx context.Context, _ backend.TxOptions) (backend.Tx, error) {
			return h.Backend.Begin(ctx, backend.TxOptions{})
		}
	}},
	{name: "what a transaction can not hold is written at once", caught: []string{"a transaction writes at most 128 keys", "the values that a transaction writes have at most 8 MiB"}, breaks: func(h *hooks) {
		h.tx(func(t *txHooks) {
			t.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
				err := t.Tx.Put(ctx, key, value, opts)
				if backend.CodeOf(err) == backend.TooLarge {
					_, err = h.Backend.Put(ctx, key, value, opts)
				}
				return err
			}
		})
	}},
	{name: "a transaction ignores what it can not do", caught: []string{"a transaction refuses what Put, Delete, Get and List refuse"}, breaks: func(h *hooks) {
		h.tx(func(t *txHooks) {
			t.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
				return ignore(t.Tx.Put(ctx, key, value, opts), backend.Invalid)
			}
		})
	}},
	{name: "a transaction reads without end", caught: []string{"a transaction reads at most 4,096 times"}, breaks: func(h *hooks) {
		h.tx(func(t *txHooks) {
			t.get = func(ctx context.Context, key string) (*backend.Entry, error) {
				e, err := t.Tx.Get(ctx, key)
				return e, ignore(err, backend.TooLarge)
			}
		})
	}},
	{name: "any change since it began is a conflict", caught: []string{"changes of what a transaction did not read do not disturb it", "100 writers under prefixes of their own all commit"}, breaks: func(h *hooks) {
		h.begin = func(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
			tx, err := h.Backend.Begin(ctx, opts)
			if err == nil {
				_, err = tx.List(ctx, backend.ListQuery{Values: true})
			}
			runtime.Gosched()
			return tx, err
		}
	}},
}

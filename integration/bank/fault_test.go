package bank

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// sometimes is true one time in so many.
type sometimes struct {
	n     int64
	calls atomic.Int64
}

func (s *sometimes) now() bool { return s.calls.Add(1)%s.n == 0 }

// faulty is a store of which one method is replaced.
type faulty struct {
	store
	txn   func(context.Context, []backend.TxnOp) (*backend.TxnResult, error)
	list  func(context.Context, backend.ListQuery) (*backend.ListResult, error)
	begin func(context.Context, backend.TxOptions) (backend.Tx, error)
}

func (f *faulty) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	if f.txn != nil {
		return f.txn(ctx, ops)
	}
	return f.store.Txn(ctx, ops)
}

func (f *faulty) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if f.list != nil {
		return f.list(ctx, q)
	}
	return f.store.List(ctx, q)
}

func (f *faulty) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	if f.begin != nil {
		return f.begin(ctx, opts)
	}
	return f.store.Begin(ctx, opts)
}

// transferring reports whether ops move money.
func transferring(ops []backend.TxnOp) bool {
	return len(ops) <= 7 && slices.ContainsFunc(ops, func(op backend.TxnOp) bool { return strings.HasPrefix(op.Key, marksPrefix) && len(op.Value) > 0 })
}

// wrongTx is an interactive transaction whose commit is replaced, of which the
// writes are known.
type wrongTx struct {
	backend.Tx
	puts   map[string][]byte
	commit func(ctx context.Context, tx *wrongTx) error
}

func (w *wrongTx) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
	w.puts[key] = value
	return w.Tx.Put(ctx, key, value, opts)
}

func (w *wrongTx) Commit(ctx context.Context) error { return w.commit(ctx, w) }

func (f *faulty) commits(commit func(ctx context.Context, tx *wrongTx) error) *faulty {
	f.begin = func(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
		tx, err := f.store.Begin(ctx, opts)
		if err != nil || opts.ReadOnly {
			return tx, err
		}
		return &wrongTx{tx, map[string][]byte{}, commit}, nil
	}
	return f
}

// TestFaults: what a store can do wrong is found.
func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		make func(s store) store
		want string
	}{
		"a transaction that is applied in part": {func(s store) store {
			some := &sometimes{n: 20}
			f := &faulty{store: s}
			f.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
				if transferring(ops) && some.now() {
					ops = slices.DeleteFunc(slices.Clone(ops), func(op backend.TxnOp) bool { return op.Index == 0 || len(op.Value) == 0 })
				}
				return s.Txn(ctx, ops)
			}
			return f
		}, "HALF"},
		"a transaction that is applied in two steps": {func(s store) store {
			f := &faulty{store: s}
			f.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
				if !transferring(ops) {
					return s.Txn(ctx, ops)
				}
				r, err := s.Txn(ctx, ops[1:])
				if err != nil {
					return nil, err
				}
				time.Sleep(10 * time.Millisecond)
				late := ops[0]
				late.Verb = map[backend.Verb]backend.Verb{backend.VerbCAS: backend.VerbSet, backend.VerbDeleteCAS: backend.VerbDelete}[late.Verb]
				if late.Verb != "" {
					_, err = s.Txn(ctx, []backend.TxnOp{late})
				}
				return r, err
			}
			return f
		}, "HALF"},
		"a list that is read in two parts": {func(s store) store {
			f := &faulty{store: s}
			f.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
				first, err := s.List(ctx, q)
				if err != nil {
					return nil, err
				}
				time.Sleep(20 * time.Millisecond)
				second, err := s.List(ctx, q)
				if err != nil {
					return nil, err
				}
				isOld := func(it backend.ListItem) bool { return it.Name < branchPrefix(2) }
				second.Items = slices.DeleteFunc(second.Items, isOld)
				for i := len(first.Items) - 1; i >= 0; i-- {
					if isOld(first.Items[i]) {
						second.Items = slices.Insert(second.Items, 0, first.Items[i])
					}
				}
				return second, nil
			}
			return f
		}, "HALF"},
		"a list of some time ago": {func(s store) store {
			f := &faulty{store: s}
			var old atomic.Pointer[backend.ListResult]
			f.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
				page, err := s.List(ctx, q)
				if err != nil || q.Prefix != bankPrefix {
					return page, err
				}
				if was := old.Swap(page); was != nil {
					return was, nil
				}
				return page, nil
			}
			return f
		}, "LATE"},
		"a transaction that is said to have failed": {func(s store) store {
			some := &sometimes{n: 20}
			f := &faulty{store: s}
			f.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
				r, err := s.Txn(ctx, ops)
				if err == nil && transferring(ops) && some.now() {
					return nil, backend.Errorf(backend.TxnConflict, "", "others were in the way")
				}
				return r, err
			}
			return f
		}, "and that transfer did not happen, as it was told"},
		"a transaction that is said to have happened": {func(s store) store {
			some := &sometimes{n: 20}
			f := &faulty{store: s}
			f.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
				if transferring(ops) && some.now() {
					return &backend.TxnResult{}, nil
				}
				return s.Txn(ctx, ops)
			}
			return f
		}, "MARK"},
		"an interactive transaction that writes although it lost": {func(s store) store {
			return (&faulty{store: s}).commits(func(ctx context.Context, w *wrongTx) error {
				err := w.Tx.Commit(ctx)
				if backend.CodeOf(err) != backend.TxnConflict {
					return err
				}
				return backend.Update(ctx, s, w.puts)
			})
		}, "HALF"},
		"a skew": {func(s store) store {
			return (&faulty{store: s}).commits(func(ctx context.Context, w *wrongTx) error {
				err := w.Tx.Commit(ctx)
				if backend.CodeOf(err) != backend.TxnConflict || len(w.puts) != 1 {
					return err
				}
				return backend.Update(ctx, s, w.puts) // what was read is not looked at
			})
		}, "SKEW"},
		"a one-shot skew": {func(s store) store {
			f := &faulty{store: s}
			f.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
				if ops[0].Verb == backend.VerbCheckIndex && strings.HasPrefix(ops[0].Key, shiftsPrefix) {
					ops = ops[1:] // the check has no part in it
				}
				return s.Txn(ctx, ops)
			}
			return f
		}, "SKEW"},
		"an error that must not come": {func(s store) store {
			f := &faulty{store: s}
			f.list = func(context.Context, backend.ListQuery) (*backend.ListResult, error) {
				return nil, backend.Errorf(backend.Internal, "", "broken")
			}
			return f
		}, "broken"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := judged(t, tc.make(fresh()))
			require.ErrorContains(t, err, tc.want)
		})
	}
}

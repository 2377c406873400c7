package backendtest

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Backend is a backend with all capabilities.
type Backend interface {
	backend.Backend
	backend.Transactional
	backend.Watcher
	backend.Sessions
	backend.Locker
	backend.Fencer
	backend.Describer
}

// hooks is a backend some of whose operations are replaced.
type hooks struct {
	Backend
	get     func(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error)
	put     func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error)
	delete  func(ctx context.Context, key string, opts backend.DeleteOptions) error
	pop     func(ctx context.Context, key string) (*backend.Entry, error)
	popItem func(ctx context.Context) (*backend.Entry, error)
	list    func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error)
	close   func() error

	txn     func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error)
	begin   func(ctx context.Context, opts backend.TxOptions) (backend.Tx, error)
	watch   func(ctx context.Context, q backend.WatchQuery) (uint64, error)
	create  func(ctx context.Context, opts backend.SessionOptions) (*backend.Session, error)
	renew   func(ctx context.Context, id string) (*backend.Session, error)
	destroy func(ctx context.Context, id string) error
	session func(ctx context.Context, id string) (*backend.Session, error)
	all     func(ctx context.Context) ([]*backend.Session, error)
	lock    func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error)
	fence   func(ctx context.Context, f backend.Fence) error
}

func (h *hooks) Get(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
	if h.get != nil {
		return h.get(ctx, key, opts)
	}
	return h.Backend.Get(ctx, key, opts)
}

func (h *hooks) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	if h.put != nil {
		return h.put(ctx, key, value, opts)
	}
	return h.Backend.Put(ctx, key, value, opts)
}

func (h *hooks) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	if h.delete != nil {
		return h.delete(ctx, key, opts)
	}
	return h.Backend.Delete(ctx, key, opts)
}

func (h *hooks) Pop(ctx context.Context, key string) (*backend.Entry, error) {
	if h.pop != nil {
		return h.pop(ctx, key)
	}
	return h.Backend.Pop(ctx, key)
}

func (h *hooks) PopItem(ctx context.Context) (*backend.Entry, error) {
	if h.popItem != nil {
		return h.popItem(ctx)
	}
	return h.Backend.PopItem(ctx)
}

func (h *hooks) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if h.list != nil {
		return h.list(ctx, q)
	}
	return h.Backend.List(ctx, q)
}

func (h *hooks) Close() error {
	if h.close != nil {
		return h.close()
	}
	return h.Backend.Close()
}

func (h *hooks) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	if h.txn != nil {
		return h.txn(ctx, ops)
	}
	return h.Backend.Txn(ctx, ops)
}

func (h *hooks) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	if h.begin != nil {
		return h.begin(ctx, opts)
	}
	return h.Backend.Begin(ctx, opts)
}

func (h *hooks) Watch(ctx context.Context, q backend.WatchQuery) (uint64, error) {
	if h.watch != nil {
		return h.watch(ctx, q)
	}
	return h.Backend.Watch(ctx, q)
}

func (h *hooks) CreateSession(ctx context.Context, opts backend.SessionOptions) (*backend.Session, error) {
	if h.create != nil {
		return h.create(ctx, opts)
	}
	return h.Backend.CreateSession(ctx, opts)
}

func (h *hooks) RenewSession(ctx context.Context, id string) (*backend.Session, error) {
	if h.renew != nil {
		return h.renew(ctx, id)
	}
	return h.Backend.RenewSession(ctx, id)
}

func (h *hooks) DestroySession(ctx context.Context, id string) error {
	if h.destroy != nil {
		return h.destroy(ctx, id)
	}
	return h.Backend.DestroySession(ctx, id)
}

func (h *hooks) Session(ctx context.Context, id string) (*backend.Session, error) {
	if h.session != nil {
		return h.session(ctx, id)
	}
	return h.Backend.Session(ctx, id)
}

func (h *hooks) Sessions(ctx context.Context) ([]*backend.Session, error) {
	if h.all != nil {
		return h.all(ctx)
	}
	return h.Backend.Sessions(ctx)
}

func (h *hooks) Lock(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
	if h.lock != nil {
		return h.lock(ctx, opts)
	}
	return h.Backend.Lock(ctx, opts)
}

func (h *hooks) Fence(ctx context.Context, f backend.Fence) error {
	if h.fence != nil {
		return h.fence(ctx, f)
	}
	return h.Backend.Fence(ctx, f)
}

// entry changes what Get returns.
func (h *hooks) entry(change func(key string, e *backend.Entry) *backend.Entry) {
	h.get = func(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
		e, err := h.Backend.Get(ctx, key, opts)
		if err != nil {
			return nil, err
		}
		return change(key, e), nil
	}
}

// query changes what List is asked.
func (h *hooks) query(change func(q *backend.ListQuery)) {
	h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
		change(&q)
		return h.Backend.List(ctx, q)
	}
}

// result changes what List returns.
func (h *hooks) result(change func(q backend.ListQuery, res *backend.ListResult)) {
	h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
		res, err := h.Backend.List(ctx, q)
		if err == nil {
			change(q, res)
		}
		return res, err
	}
}

// A window is the time between the two halves of what should be one change.
type window struct{ events atomic.Uint64 }

// linger keeps the window open until so many more events have happened in the
// backend, or none seem to be coming.
func (w *window) linger(events uint64) {
	target := w.events.Load() + events
	for range 1000 {
		if w.events.Load() >= target {
			return
		}
		runtime.Gosched()
	}
}

// enter is an event, and lingers until there is another.
func (w *window) enter() {
	w.events.Add(1)
	w.linger(1)
}

// ops changes what Txn is asked.
func (h *hooks) ops(change func(ops []backend.TxnOp) []backend.TxnOp) {
	h.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
		return h.Backend.Txn(ctx, change(slices.Clone(ops)))
	}
}

// op changes each operation that Txn is asked for.
func (h *hooks) op(change func(op *backend.TxnOp)) {
	h.ops(func(ops []backend.TxnOp) []backend.TxnOp {
		for i := range ops {
			change(&ops[i])
		}
		return ops
	})
}

// txHooks is a transaction some of whose operations are replaced.
type txHooks struct {
	backend.Tx
	get      func(ctx context.Context, key string) (*backend.Entry, error)
	list     func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error)
	put      func(ctx context.Context, key string, value []byte, opts backend.PutOptions) error
	commit   func(ctx context.Context) error
	rollback func(ctx context.Context) error
}

func (t *txHooks) Get(ctx context.Context, key string) (*backend.Entry, error) {
	if t.get != nil {
		return t.get(ctx, key)
	}
	return t.Tx.Get(ctx, key)
}

func (t *txHooks) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if t.list != nil {
		return t.list(ctx, q)
	}
	return t.Tx.List(ctx, q)
}

func (t *txHooks) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
	if t.put != nil {
		return t.put(ctx, key, value, opts)
	}
	return t.Tx.Put(ctx, key, value, opts)
}

func (t *txHooks) Commit(ctx context.Context) error {
	if t.commit != nil {
		return t.commit(ctx)
	}
	return t.Tx.Commit(ctx)
}

func (t *txHooks) Rollback(ctx context.Context) error {
	if t.rollback != nil {
		return t.rollback(ctx)
	}
	return t.Tx.Rollback(ctx)
}

// tx changes what transactions do.
func (h *hooks) tx(change func(t *txHooks)) {
	h.begin = func(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
		tx, err := h.Backend.Begin(ctx, opts)
		if err != nil {
			return nil, err
		}
		t := &txHooks{Tx: tx}
		change(t)
		return t, nil
	}
}

// lockHooks is a lock some of whose operations are replaced.
type lockHooks struct {
	backend.Lock
	lost   <-chan struct{}
	unlock func(ctx context.Context) error
}

func (l *lockHooks) Lost() <-chan struct{} {
	if l.lost != nil {
		return l.lost
	}
	return l.Lock.Lost()
}

func (l *lockHooks) Unlock(ctx context.Context) error {
	if l.unlock != nil {
		return l.unlock(ctx)
	}
	return l.Lock.Unlock(ctx)
}

// handle changes what locks do.
func (h *hooks) handle(change func(l *lockHooks)) {
	h.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
		got, err := h.Backend.Lock(ctx, opts)
		if err != nil {
			return nil, err
		}
		l := &lockHooks{Lock: got}
		change(l)
		return l, nil
	}
}

// A fakeLock is held by nobody.
type fakeLock struct{ key string }

func (l fakeLock) Key() string                                 { return l.key }
func (l fakeLock) Session() string                             { return stranger }
func (l fakeLock) Token() uint64                               { return 1 << 52 }
func (l fakeLock) Lost() <-chan struct{}                       { return nil }
func (l fakeLock) Value(context.Context) ([]byte, bool, error) { return nil, true, nil }
func (l fakeLock) Unlock(context.Context) error                { return nil }

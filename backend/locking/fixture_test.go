package locking

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// A faulty is a store some of whose calls go wrong. A hook is asked before the call
// and, if it returns after, once it is over, for the error to return instead.
type faulty struct {
	Store
	mu    sync.Mutex
	hooks map[string]hook
	calls map[string]int
}

type hook func(ctx context.Context) (after func() error, err error)

// on sets the hook of a method.
func (f *faulty) on(method string, h hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks[method] = h
}

func (f *faulty) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

func (f *faulty) call(ctx context.Context, method string, do func() error) error {
	f.mu.Lock()
	h := f.hooks[method]
	f.calls[method]++
	f.mu.Unlock()
	if h == nil {
		return do()
	}
	after, err := h(ctx)
	if err != nil {
		return err
	}
	err = do()
	if after != nil && err == nil {
		err = after()
	}
	return err
}

func (f *faulty) Get(ctx context.Context, key string, opts backend.GetOptions) (e *backend.Entry, err error) {
	err = f.call(ctx, "Get", func() error { e, err = f.Store.Get(ctx, key, opts); return err })
	return e, err
}

func (f *faulty) Watch(ctx context.Context, q backend.WatchQuery) (index uint64, err error) {
	err = f.call(ctx, "Watch", func() error { index, err = f.Store.Watch(ctx, q); return err })
	return index, err
}

func (f *faulty) Txn(ctx context.Context, ops []backend.TxnOp) (res *backend.TxnResult, err error) {
	err = f.call(ctx, "Txn", func() error { res, err = f.Store.Txn(ctx, ops); return err })
	return res, err
}

func (f *faulty) CreateSession(ctx context.Context, opts backend.SessionOptions) (s *backend.Session, err error) {
	err = f.call(ctx, "CreateSession", func() error { s, err = f.Store.CreateSession(ctx, opts); return err })
	return s, err
}

func (f *faulty) RenewSession(ctx context.Context, id string) (s *backend.Session, err error) {
	err = f.call(ctx, "RenewSession", func() error { s, err = f.Store.RenewSession(ctx, id); return err })
	return s, err
}

func (f *faulty) DestroySession(ctx context.Context, id string) error {
	return f.call(ctx, "DestroySession", func() error { return f.Store.DestroySession(ctx, id) })
}

// fails is a hook for calls that fail and change nothing.
func fails(code backend.Code) hook {
	return func(context.Context) (func() error, error) { return nil, fault(code) }
}

// forgets is a hook for calls that succeed and say that they failed.
func forgets(code backend.Code) hook {
	return func(context.Context) (func() error, error) { return func() error { return fault(code) }, nil }
}

func fault(code backend.Code) error { return backend.Errorf(code, "", "injected") }

// times lets h work for the first n calls.
func times(n int64, h hook) hook {
	var calls atomic.Int64
	return func(ctx context.Context) (func() error, error) {
		if calls.Add(1) > n {
			return nil, nil
		}
		return h(ctx)
	}
}

// A fixture is a keeper on a store in memory, in synctest's time.
type fixture struct {
	*testing.T
	ctx    context.Context
	mem    *memory.Store
	store  *faulty
	keeper *Keeper
}

// inBubble runs test in a bubble in which nothing may be left running.
func inBubble(t *testing.T, test func(f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{T: t, ctx: t.Context(), mem: memory.New(backend.DefaultLimits())}
		f.store = &faulty{Store: f.mem, hooks: map[string]hook{}, calls: map[string]int{}}
		f.keeper = New(f.store, nil)
		test(f)
		f.keeper.Close()
		f.keeper.Close()
		require.Empty(t, f.keeper.sessions)
		require.Empty(t, f.keeper.turns)
		require.Zero(t, f.keeper.locks)
		require.NoError(t, f.mem.Close())
	})
}

// pass lets d go by, and all happen that is due by then.
func (f *fixture) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (f *fixture) session(opts backend.SessionOptions) string {
	f.Helper()
	s, err := f.mem.CreateSession(f.ctx, opts)
	require.NoError(f, err)
	return s.ID
}

// none requires that no session lives.
func (f *fixture) none() {
	f.Helper()
	synctest.Wait()
	all, err := f.mem.Sessions(f.ctx)
	require.NoError(f, err)
	require.Empty(f, all)
}

func (f *fixture) lock(opts backend.LockOptions) *lock {
	f.Helper()
	l, err := f.keeper.Lock(f.ctx, opts)
	require.NoError(f, err)
	return l.(*lock)
}

// locks locks in the background.
func (f *fixture) locks(ctx context.Context, opts backend.LockOptions) <-chan outcome {
	ended := make(chan outcome, 1)
	go func() {
		l, err := f.keeper.Lock(ctx, opts)
		ended <- outcome{l, err}
	}()
	synctest.Wait()
	return ended
}

type outcome struct {
	lock backend.Lock
	err  error
}

func (f *fixture) get(key string) *backend.Entry {
	f.Helper()
	e, err := f.mem.Get(f.ctx, key, backend.GetOptions{})
	require.NoError(f, err)
	require.NotNil(f, e)
	return e
}

func (f *fixture) put(key, value string) {
	f.Helper()
	_, err := f.mem.Put(f.ctx, key, []byte(value), backend.PutOptions{})
	require.NoError(f, err)
}

// isLost reports whether l is lost, without asking it.
func isLost(l backend.Lock) bool {
	select {
	case <-l.(*lock).lost:
		return true
	default:
		return false
	}
}

// lost requires that l is lost and says so.
func (f *fixture) lost(l backend.Lock) {
	f.Helper()
	synctest.Wait()
	require.True(f, isLost(l), "Lost is open")
	require.ErrorIs(f, l.Unlock(f.ctx), backend.ErrLockLost)
}

func numbered(i int) string { return fmt.Sprintf("k/%04d", i) }

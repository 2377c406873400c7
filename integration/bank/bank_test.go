package bank

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/integration/crew"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a backend that can be made wrong.
type store interface {
	backend.Backend
	backend.Transactional
}

// slow lets the operations of a store take their time, so that they meet.
type slow struct {
	store
	ticks atomic.Int64
}

func (s *slow) wait() {
	time.Sleep(time.Duration(s.ticks.Add(1)*7919%5) * time.Millisecond)
}

func (s *slow) Get(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
	s.wait()
	defer s.wait()
	return s.store.Get(ctx, key, opts)
}

func (s *slow) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	s.wait()
	defer s.wait()
	return s.store.Put(ctx, key, value, opts)
}

func (s *slow) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	s.wait()
	defer s.wait()
	return s.store.List(ctx, q)
}

func (s *slow) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	s.wait()
	defer s.wait()
	return s.store.Txn(ctx, ops)
}

func (s *slow) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	s.wait()
	tx, err := s.store.Begin(ctx, opts)
	return &slowTx{tx, s}, err
}

type slowTx struct {
	backend.Tx
	s *slow
}

func (t *slowTx) Get(ctx context.Context, key string) (*backend.Entry, error) {
	t.s.wait()
	return t.Tx.Get(ctx, key)
}

func (t *slowTx) Commit(ctx context.Context) error {
	t.s.wait()
	defer t.s.wait()
	return t.Tx.Commit(ctx)
}

// judged lets a bank work with a store for a while and judges it.
func judged(t *testing.T, of store) (r *Report, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{store: of}
		targets := []crew.Target{{Name: "a", Backend: s}, {Name: "b", Backend: s}}
		b, opening := Open(t.Context(), Config{Seed: 1}, targets...)
		require.NoError(t, opening)
		time.Sleep(20 * time.Second)
		r = b.Stop()
		t.Log(r)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = r.Judge(ctx, targets...)
	})
	return r, err
}

func fresh() *memory.Store { return memory.New(backend.DefaultLimits()) }

func TestBankAtARightStore(t *testing.T) {
	r, err := judged(t, fresh())
	require.NoError(t, err)
	require.Greater(t, r.Transfers, 500)
	require.Greater(t, r.Attempts, r.Transfers, "they never met")
	require.Greater(t, r.Snapshots, 200)
	require.Greater(t, r.Shifts, 100)
	require.Greater(t, r.bank.watched, 100)
	require.Less(t, r.Pause, time.Second)
	for _, way := range ways {
		done := 0
		for _, teller := range r.bank.tellers {
			for _, x := range teller.book {
				if x.how == way.name && x.outcome == happened {
					done++
				}
			}
		}
		require.Greater(t, done, 10, way.name)
	}
}

// unsure loses some answers, of what it did and of what it did not do, and does
// some of it later.
type unsure struct {
	store
	calls atomic.Int64
	late  bool
}

func (u *unsure) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	if !writes(ops) || !strings.HasPrefix(ops[0].Key, bankPrefix) {
		return u.store.Txn(ctx, ops)
	}
	lost := backend.Errorf(backend.UnknownOutcome, "", "the answer is lost")
	switch u.calls.Add(1) % 10 {
	case 3:
		_, _ = u.store.Txn(ctx, ops) // whether it happened is not told
		return nil, lost
	case 5:
		return nil, lost
	case 7:
		if u.late {
			time.AfterFunc(80*time.Millisecond, func() { _, _ = u.store.Txn(context.Background(), ops) })
		}
		return nil, lost
	}
	return u.store.Txn(ctx, ops)
}

func writes(ops []backend.TxnOp) bool {
	for _, op := range ops {
		if len(op.Value) > 0 || op.Verb == backend.VerbDeleteCAS || op.Verb == backend.VerbDeleteTree {
			return true
		}
	}
	return false
}

// TestDoubt: tellers find out what became of transfers whose answers are lost, also
// of those that happen later.
func TestDoubt(t *testing.T) {
	for _, late := range []bool{false, true} {
		r, err := judged(t, &unsure{store: fresh(), late: late})
		require.NoError(t, err)
		found := map[outcome]int{}
		for _, teller := range r.bank.tellers {
			for _, x := range teller.book {
				if backend.CodeOf(x.err) == backend.UnknownOutcome {
					found[x.outcome]++
				}
			}
		}
		require.Greater(t, found[happened], 10)
		require.Greater(t, found[nothing], 10)
	}
}

func TestMoreDoubtThanTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := fresh()
		dead := &unreachable{store: of}
		targets := []crew.Target{{Name: "a", Backend: dead}}
		b, err := Open(t.Context(), Config{Seed: 1}, targets...)
		require.NoError(t, err)
		time.Sleep(time.Second)
		dead.gone.Store(true)
		time.Sleep(time.Second)
		r := b.Stop()
		require.Equal(t, doubtful, b.tellers[0].book[len(b.tellers[0].book)-1].outcome)
		dead.gone.Store(false)
		require.NoError(t, r.Judge(t.Context(), targets...))
		require.Greater(t, r.Pause, 800*time.Millisecond)
	})
}

// unreachable answers nobody while it is gone, though it does what it is told.
type unreachable struct {
	store
	gone atomic.Bool
}

func (u *unreachable) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	r, err := u.store.Txn(ctx, ops)
	if u.gone.Load() && writes(ops) {
		return nil, backend.Errorf(backend.UnknownOutcome, "", "nobody answers")
	}
	return r, err
}

func (u *unreachable) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	if u.gone.Load() {
		return 0, backend.Errorf(backend.NoQuorum, key, "nobody answers")
	}
	return u.store.Put(ctx, key, value, opts)
}

package openbao

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openbao/openbao/sdk/v2/physical"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/hostring"
)

// counted is a storage that counts its operations before they begin.
type counted struct {
	physical.TransactionalBackend
	count func()
}

func (c counted) Put(ctx context.Context, e *physical.Entry) error {
	c.count()
	return c.TransactionalBackend.Put(ctx, e)
}

func (c counted) Get(ctx context.Context, key string) (*physical.Entry, error) {
	c.count()
	return c.TransactionalBackend.Get(ctx, key)
}

func (c counted) Delete(ctx context.Context, key string) error {
	c.count()
	return c.TransactionalBackend.Delete(ctx, key)
}

func (c counted) List(ctx context.Context, prefix string) ([]string, error) {
	c.count()
	return c.TransactionalBackend.List(ctx, prefix)
}

func (c counted) BeginTx(ctx context.Context) (physical.Transaction, error) {
	c.count()
	return c.TransactionalBackend.BeginTx(ctx)
}

func (c counted) HAEnabled() bool { return c.TransactionalBackend.(physical.HABackend).HAEnabled() }

func (c counted) LockWith(key, value string) (physical.Lock, error) {
	c.count()
	return c.TransactionalBackend.(physical.HABackend).LockWith(key, value)
}

func (c counted) RegisterActiveNodeLock(l physical.Lock) error {
	return c.TransactionalBackend.(physical.FencingHABackend).RegisterActiveNodeLock(l)
}

// onRing runs a suite in a ring of five processes, and again with a member killed
// before the n-th operation.
func onRing(t *testing.T, hosts int, n int64, run func(t *testing.T, hosts []counted)) {
	t.Helper()
	hostring.Suite(t, ringPlugin, hosts, Factory, n, func(t *testing.T, hosts []physical.Backend, count func()) {
		var all []counted
		for _, b := range hosts {
			all = append(all, counted{b.(physical.TransactionalBackend), count})
		}
		run(t, all)
	})
}

// The SDK's suites, each with hosts whose plugins are members of a ring of five
// processes.

func TestRingBackend(t *testing.T) {
	onRing(t, 1, 30, func(t *testing.T, hosts []counted) { physical.ExerciseBackend(t, hosts[0]) })
}

func TestRingListPrefix(t *testing.T) {
	onRing(t, 1, 8, func(t *testing.T, hosts []counted) { physical.ExerciseBackend_ListPrefix(t, hosts[0]) })
}

func TestRingHABackend(t *testing.T) {
	onRing(t, 2, 2, func(t *testing.T, hosts []counted) { physical.ExerciseHABackend(t, hosts[0], hosts[1]) })
}

// TestLongRingTransactions has 100 writers, 25 readers and 5 that list. The kill
// comes when a fifth is written.
func TestLongRingTransactions(t *testing.T) {
	onRing(t, 1, 1500, func(t *testing.T, hosts []counted) { physical.ExerciseTransactionalBackend(t, hosts[0]) })
}

// The former active server writes no more once another is active, and says what
// OpenBao looks for; what is to be written all the same is. It sees who holds the
// lock, and stops waiting for it when it is told to.
func TestRingFormerActiveIsFencedOff(t *testing.T) {
	r, hosts := hostring.Start(t, ringPlugin, 2, Factory)
	old, next := hosts[0], hosts[1]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lost, _ := takeLock(t, old)
	tx, err := old.(physical.TransactionalBackend).BeginTx(ctx)
	require.NoError(t, err)
	require.NoError(t, tx.Put(ctx, &physical.Entry{Key: "k"}))
	require.Equal(t, 1, r.EndSessions())
	select {
	case <-lost:
	case <-ctx.Done():
		t.Fatal("the lock is not lost")
	}
	lock, err := next.(physical.HABackend).LockWith("core/lock", "next")
	require.NoError(t, err)
	_, err = lock.Lock(nil)
	require.NoError(t, err)
	for name, err := range map[string]error{
		"commit": tx.Commit(ctx), "put": old.Put(ctx, &physical.Entry{Key: "k"}), "delete": old.Delete(ctx, "k"),
	} {
		require.ErrorContains(t, err, physical.ErrFencedWriteFailed, name)
		require.ErrorIs(t, err, backend.ErrFenced, name)
	}
	put(t, next, "k", "next")
	unfenced := physical.UnfencedWriteCtx(ctx)
	require.NoError(t, old.Put(unfenced, &physical.Entry{Key: "other"}))
	require.NoError(t, old.Delete(unfenced, "other"))
	require.Equal(t, "next", get(t, old, "k"))

	theirs, err := old.(physical.HABackend).LockWith("core/lock", "old")
	require.NoError(t, err)
	held, value, err := theirs.Value()
	require.NoError(t, err)
	require.True(t, held)
	require.Equal(t, "next", value)
	stop := make(chan struct{})
	close(stop)
	got, err := theirs.Lock(stop)
	require.NoError(t, err)
	require.Nil(t, got)
}

// Of 200 transactions at once, all of which have read before any commits, those that
// read what another changed fail and are made anew, and nothing is counted twice or
// lost.
func TestRing200Transactions(t *testing.T) {
	_, hosts := hostring.Start(t, ringPlugin, 1, Factory)
	b := hosts[0].(physical.TransactionalBackend)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const transactions, counters = 200, 10
	var read, all sync.WaitGroup
	read.Add(transactions)
	var again atomic.Int64
	errs := make([]error, transactions)
	for i := range transactions {
		counter, own := fmt.Sprint("counter/", i%counters), fmt.Sprint("own/", i)
		all.Go(func() {
			errs[i] = addOne(ctx, b, counter, own, func() { read.Done(); read.Wait() })
			for errors.Is(errs[i], physical.ErrTransactionCommitFailure) {
				again.Add(1)
				errs[i] = addOne(ctx, b, counter, own, func() {})
			}
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	t.Logf("%d commits failed and were tried again", again.Load())
	for i := range counters {
		require.Equal(t, fmt.Sprint(transactions/counters), get(t, b, fmt.Sprint("counter/", i)))
	}
	names, err := b.List(ctx, "own/")
	require.NoError(t, err)
	require.Len(t, names, transactions)
}

// addOne makes one transaction that adds one to a counter and creates a key.
func addOne(ctx context.Context, b physical.TransactionalBackend, counter, own string, hasRead func()) error {
	tx, err := b.BeginTx(ctx)
	var e *physical.Entry
	if err == nil {
		e, err = tx.Get(ctx, counter)
	}
	hasRead()
	if err != nil {
		return err
	}
	n := 0
	if e != nil {
		if n, err = strconv.Atoi(string(e.Value)); err != nil {
			return err
		}
	}
	for key, value := range map[string]string{counter: fmt.Sprint(n + 1), own: ""} {
		if err := tx.Put(ctx, &physical.Entry{Key: key, Value: []byte(value)}); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// A value that is larger than gRPC's default for a message, alone and in transactions.
func TestRingLargeValue(t *testing.T) {
	_, hosts := hostring.Start(t, ringPlugin, 1, Factory)
	b, ctx := hosts[0].(physical.TransactionalBackend), t.Context()
	large := bytes.Repeat([]byte("0123456"), 1<<20)
	require.NoError(t, b.Put(ctx, &physical.Entry{Key: "a", Value: large}))
	tx, err := b.BeginTx(ctx)
	require.NoError(t, err)
	_, err = tx.List(ctx, "")
	require.NoError(t, err)
	require.NoError(t, tx.Put(ctx, &physical.Entry{Key: "b", Value: large}))
	require.NoError(t, tx.Commit(ctx))
	read := beginReadOnly(t, b)
	names, err := read.List(ctx, "")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, names)
	for _, s := range []physical.Backend{b, read} {
		for _, key := range names {
			e, err := s.Get(ctx, key)
			require.NoError(t, err)
			require.True(t, bytes.Equal(large, e.Value), key)
		}
	}
	require.NoError(t, read.Commit(ctx))
}

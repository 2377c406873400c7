package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// A plugin that is killed takes its transactions and locks with it. Only of what
// was being committed is the outcome not known.
func TestPluginKilledInATransaction(t *testing.T) {
	c := open(t, nil)
	ctx := t.Context()
	begin := func(opts backend.TxOptions) backend.Tx {
		tx, err := c.Begin(ctx, opts)
		require.NoError(t, err)
		return tx
	}
	idle, committing := begin(backend.TxOptions{}), begin(backend.TxOptions{})
	require.NoError(t, idle.Put(ctx, "k", nil, backend.PutOptions{}))
	require.NoError(t, committing.Put(ctx, "hang", nil, backend.PutOptions{}))
	lock, err := c.Lock(ctx, backend.LockOptions{Key: "lock"})
	require.NoError(t, err)
	results := make(chan error, 2)
	go func() { results <- committing.Commit(ctx) }()
	go func() {
		_, err := c.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbSet, Key: "hang"}})
		results <- err
	}()
	waitForHangs(t, c, "2 0")

	require.NoError(t, syscall.Kill(c.PID(), syscall.SIGKILL))
	for range 2 {
		require.Equal(t, backend.UnknownOutcome, backend.CodeOf(<-results))
	}
	<-c.Done()
	<-lock.Lost()
	for name, call := range map[string]func() error{
		"Get":    func() error { _, err := idle.Get(ctx, "k"); return err },
		"Put":    func() error { return idle.Put(ctx, "k", nil, backend.PutOptions{}) },
		"Begin":  func() error { _, err := c.Begin(ctx, backend.TxOptions{}); return err },
		"Unlock": func() error { return lock.Unlock(ctx) },
		"Lock":   func() error { _, err := c.Lock(ctx, backend.LockOptions{Key: "lock"}); return err },
	} {
		require.Equal(t, backend.Closed, backend.CodeOf(call()), name)
	}
	require.Equal(t, backend.Closed, backend.CodeOf(idle.Commit(ctx)))
	require.Equal(t, backend.TxnDone, backend.CodeOf(idle.Rollback(ctx)), "after Commit")
}

// Many transactions are open at the same time, and none disturbs another more than
// by a conflict.
func TestConcurrentTransactions(t *testing.T) {
	const transactions = 200
	c := open(t, nil)
	ctx := within(t, time.Minute)
	var all, begun sync.WaitGroup
	begun.Add(transactions)
	errs := make([]error, transactions)
	for i := range transactions {
		all.Go(func() {
			first := true
			errs[i] = retried(ctx, c, func(tx backend.Tx) error {
				if first {
					first = false
					begun.Done()
					begun.Wait()
				}
				if err := tx.Put(ctx, fmt.Sprint("own/", i), nil, backend.PutOptions{}); err != nil {
					return err
				}
				return add(ctx, tx, fmt.Sprint("shared/", i%20))
			})
		})
	}
	all.Wait()
	require.NoError(t, errors.Join(errs...))
	own, err := c.List(ctx, backend.ListQuery{Prefix: "own/"})
	require.NoError(t, err)
	require.Len(t, own.Items, transactions)
	for e, err := range backend.Items(ctx, c, "shared/") {
		require.NoError(t, err)
		require.Equal(t, "10", string(e.Value), e.Key)
	}
}

// retried carries out do in a transaction until that does not lose against another.
func retried(ctx context.Context, c backend.Transactional, do func(tx backend.Tx) error) error {
	for {
		tx, err := c.Begin(ctx, backend.TxOptions{})
		if err != nil {
			return err
		}
		if err = do(tx); err == nil {
			err = tx.Commit(ctx)
		} else {
			err = errors.Join(err, tx.Rollback(ctx))
		}
		if !errors.Is(err, backend.ErrTxnConflict) {
			return err
		}
	}
}

// add adds one to the number at key.
func add(ctx context.Context, tx backend.Tx, key string) error {
	n := 0
	e, err := tx.Get(ctx, key)
	if err == nil && e != nil {
		n, err = strconv.Atoi(string(e.Value))
	}
	if err != nil {
		return err
	}
	return tx.Put(ctx, key, strconv.AppendInt(nil, int64(n+1), 10), backend.PutOptions{})
}

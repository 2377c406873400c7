package hosting

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// begins counts how transactions reach a backend.
type begins struct {
	*memory.Store
	begun, oneShot int
	// last is the newest interactive one.
	last backend.Tx
}

func (b *begins) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	b.begun++
	var err error
	b.last, err = b.Store.Begin(ctx, opts)
	return b.last, err
}

func (b *begins) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	b.oneShot++
	return b.Store.Txn(ctx, ops)
}

// A transaction that only writes is one call, and sees what it writes without any.
func TestBlindTransaction(t *testing.T) {
	b := &begins{Store: newMemory()}
	s := over(t, b)
	ctx := t.Context()
	require.NoError(t, s.Put(ctx, "old", nil, false))
	tx := s.Begin(false)
	value := []byte("1")
	require.NoError(t, tx.Put("k", value, false))
	value[0] = '2'
	require.NoError(t, tx.Delete("old", false))
	e, err := tx.Get(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, &backend.Entry{Key: "k", Value: []byte("1")}, e)
	e, err = tx.Get(ctx, "old")
	require.NoError(t, err)
	require.Nil(t, e)
	e, err = s.Get(ctx, "k")
	require.NoError(t, err)
	require.Nil(t, e, "not before the commit")
	require.NoError(t, tx.Commit(ctx))
	require.Equal(t, 1, b.oneShot)
	require.Zero(t, b.begun)
	names, err := s.List(ctx, "", "", 0)
	require.NoError(t, err)
	require.Equal(t, []string{"k"}, names)

	none := s.Begin(false)
	require.NoError(t, none.Commit(ctx))
	none = s.Begin(false)
	require.NoError(t, none.Put("k", nil, false))
	require.NoError(t, none.Rollback(ctx))
	require.Equal(t, 1, b.oneShot)
}

// What was written before a listing is in it, and what is written after it is
// committed with it.
func TestTransactionThatListsAndWrites(t *testing.T) {
	b := &begins{Store: newMemory()}
	s := over(t, b)
	ctx := t.Context()
	require.NoError(t, s.Put(ctx, "a", []byte("0"), false))
	for i := range 2 {
		tx := s.Begin(false)
		require.NoError(t, tx.Put("b", []byte("1"), false))
		require.NoError(t, tx.Delete("a", false))
		r, err := tx.List(ctx, Query("", "", 0))
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, Names(r, ""))
		require.NoError(t, tx.Put("b", []byte("2"), false))
		require.NoError(t, tx.Put("c", nil, false))
		if i == 0 {
			require.NoError(t, s.Put(ctx, "d", nil, false))
			require.ErrorIs(t, tx.Commit(ctx), backend.ErrTxnConflict, "it was listed that there is no d")
			require.NoError(t, s.Delete(ctx, "d", false))
			continue
		}
		require.NoError(t, tx.Commit(ctx))
	}
	names, err := s.List(ctx, "", "", 0)
	require.NoError(t, err)
	require.Equal(t, []string{"b", "c"}, names)
	e, err := s.Get(ctx, "b")
	require.NoError(t, err)
	require.Equal(t, "2", string(e.Value))
	require.Equal(t, 2, b.begun)
	require.Zero(t, b.oneShot)
}

// A transaction that the storage ended, as a plugin does that was not asked for long, has
// not happened: it is not one that the caller ended.
func TestTransactionThatEndedByItself(t *testing.T) {
	b := &begins{Store: newMemory()}
	s := over(t, b)
	ctx := t.Context()
	ended := func() *Tx {
		tx := s.Begin(false)
		_, err := tx.Get(ctx, "k")
		require.NoError(t, err)
		require.NoError(t, tx.Put("k", nil, false))
		require.NoError(t, b.last.Rollback(ctx))
		return tx
	}
	tx := ended()
	_, read := tx.Get(ctx, "other")
	_, listed := tx.List(ctx, Query("", "", 0))
	for _, err := range []error{read, listed, tx.Commit(ctx), ended().Commit(ctx)} {
		require.Equal(t, backend.TxnConflict, backend.CodeOf(err), "%v", err)
		require.ErrorContains(t, err, "begin it anew")
		require.NotErrorIs(t, err, backend.ErrTxnDone)
	}
	require.ErrorIs(t, tx.Commit(ctx), backend.ErrTxnDone, "now the caller has ended it")
	require.NoError(t, ended().Rollback(ctx))
	e, err := s.Get(ctx, "k")
	require.NoError(t, err)
	require.Nil(t, e)
}

// What can not be is refused when it is written, and leaves the transaction as it was.
func TestTransactionLimits(t *testing.T) {
	s := over(t, newMemory())
	ctx := t.Context()
	tx := s.Begin(false)
	large := make([]byte, backend.DefaultMaxValueSize)
	require.ErrorContains(t, tx.Put("k", append(large, 0), false), "value being too large")
	require.ErrorContains(t, tx.Put(string(large[:4000]), nil, false), textKeyTooLarge)
	require.ErrorIs(t, tx.Delete("", false), backend.ErrInvalid)
	for range 2 { // the same key again
		require.NoError(t, tx.Put("0", large, false))
	}
	require.ErrorIs(t, tx.Put("1", []byte("x"), false), backend.ErrTooLarge)
	for i := 1; i < backend.MaxTxnOps; i++ {
		require.NoError(t, tx.Delete(fmt.Sprint(i), false))
	}
	require.ErrorIs(t, tx.Delete("more", false), backend.ErrTooLarge)
	require.NoError(t, tx.Put("0", nil, false))
	require.NoError(t, tx.Put("1", large, false), "there is room again")
	require.NoError(t, tx.Commit(ctx))
	for _, err := range []error{tx.Commit(ctx), tx.Rollback(ctx), tx.Put("k", nil, false), tx.Delete("k", false)} {
		require.ErrorIs(t, err, backend.ErrTxnDone)
	}
	_, err := tx.Get(ctx, "k")
	require.ErrorIs(t, err, backend.ErrTxnDone)
	_, err = tx.List(ctx, Query("", "", 0))
	require.ErrorIs(t, err, backend.ErrTxnDone)
	read := s.Begin(true)
	require.ErrorIs(t, read.Put("k", nil, false), backend.ErrTxnReadOnly)
	require.NoError(t, read.Commit(ctx))
}

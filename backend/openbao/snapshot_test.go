package openbao

import (
	"context"
	"fmt"
	"testing"

	"github.com/openbao/openbao/sdk/v2/physical"
	"github.com/stretchr/testify/require"
)

func put(t *testing.T, b physical.Backend, key, value string) {
	t.Helper()
	require.NoError(t, b.Put(t.Context(), &physical.Entry{Key: key, Value: []byte(value)}))
}

func beginReadOnly(t *testing.T, b physical.Backend) physical.Transaction {
	t.Helper()
	tx, err := b.(physical.TransactionalBackend).BeginReadOnlyTx(t.Context())
	require.NoError(t, err)
	return tx
}

func get(t *testing.T, b physical.Backend, key string) any {
	t.Helper()
	e, err := b.Get(t.Context(), key)
	require.NoError(t, err)
	if e == nil {
		return nil
	}
	require.Equal(t, key, e.Key)
	return string(e.Value)
}

func TestWhatWasListedStays(t *testing.T) {
	each(t, func(t *testing.T, b physical.Backend) {
		ctx := t.Context()
		put(t, b, "x/a", "1")
		put(t, b, "x/b/c", "2")
		put(t, b, "y", "3")
		tx := beginReadOnly(t, b)
		names, err := tx.List(ctx, "x/")
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b/"}, names)
		require.NoError(t, b.Delete(ctx, "x/a"))
		put(t, b, "x/b/c", "changed")
		put(t, b, "x/new", "4")
		require.Equal(t, "1", get(t, tx, "x/a"))
		require.Equal(t, "2", get(t, tx, "x/b/c"))
		require.Nil(t, get(t, tx, "x/new"))
		names, err = tx.ListPage(ctx, "x/", "a", 1)
		require.NoError(t, err)
		require.Equal(t, []string{"b/"}, names)
		names, err = tx.List(ctx, "x/b/")
		require.NoError(t, err)
		require.Equal(t, []string{"c"}, names)
		require.NoError(t, tx.Commit(ctx), "one instant")

		e, err := b.Get(ctx, "x/b/c")
		require.NoError(t, err)
		require.Equal(t, "changed", string(e.Value))
	})
}

// What was read at two instants is judged by Commit.
func TestReadsOfTwoInstants(t *testing.T) {
	for name, read := range map[string]func(tx physical.Transaction) error{
		"listing": func(tx physical.Transaction) error { _, err := tx.List(context.Background(), "x/"); return err },
		"get":     func(tx physical.Transaction) error { _, err := tx.Get(context.Background(), "x/a"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			b := over(t, newMemory(), nil)
			put(t, b, "x/a", "1")
			for _, change := range []bool{false, true} {
				tx := beginReadOnly(t, b)
				require.NoError(t, read(tx))
				if change {
					put(t, b, "x/a", "2")
				}
				require.Nil(t, get(t, tx, "y"))
				err := tx.Commit(t.Context())
				if change {
					require.ErrorIs(t, err, physical.ErrTransactionCommitFailure)
				} else {
					require.NoError(t, err)
				}
			}
		})
	}
}

// Of many keys only the names are of one instant, and Commit says when that was not
// enough.
func TestManyKeys(t *testing.T) {
	b := over(t, newMemory(), nil)
	ctx := t.Context()
	for i := range maxSnapshot + 1 {
		put(t, b, fmt.Sprintf("x/%05d", i), "1")
	}
	for _, change := range []bool{false, true} {
		tx := beginReadOnly(t, b)
		names, err := tx.List(ctx, "x/")
		require.NoError(t, err)
		require.Len(t, names, maxSnapshot+1)
		require.Equal(t, "1", get(t, tx, "x/00001"))
		if !change {
			require.NoError(t, tx.Commit(ctx))
			continue
		}
		require.NoError(t, b.Delete(ctx, "x/00002"))
		require.Nil(t, get(t, tx, "x/00002"))
		require.ErrorIs(t, tx.Commit(ctx), physical.ErrTransactionCommitFailure)
	}
}

// Pages of what was taken are those of the storage.
func TestPagesAreTheSame(t *testing.T) {
	b := over(t, newMemory(), nil)
	ctx := t.Context()
	for _, key := range []string{"a", "a/", "a/b", "a/b/c", "a/b/d", "a/c", "a0", "b/x/y", "b/z"} {
		put(t, b, key, key)
	}
	tx := beginReadOnly(t, b)
	_, err := tx.List(ctx, "")
	require.NoError(t, err)
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b/", "b/", "b/x/", "c"} {
		for _, after := range []string{"", "/", "a", "a/", "b", "b/", "x/", "~"} {
			for limit := -1; limit < 4; limit++ {
				want, err := b.ListPage(ctx, prefix, after, limit)
				require.NoError(t, err)
				got, err := tx.ListPage(ctx, prefix, after, limit)
				require.NoError(t, err)
				require.Equal(t, want, got, "prefix %q, after %q, limit %d", prefix, after, limit)
			}
		}
	}
	require.NoError(t, tx.Rollback(ctx))
}

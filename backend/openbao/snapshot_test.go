package openbao

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/openbao/openbao/sdk/v2/physical"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/hosting"
	"github.com/chord-plugin/chord-plugin/backend/memory"
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

// asked is a store that notes how many entries it was asked for with their values: those
// of the listings, and of the transactions' own.
type asked struct {
	*memory.Store
	listed, again []int
}

func (a *asked) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if q.Values {
		a.listed = append(a.listed, q.Limit)
	}
	return a.Store.List(ctx, q)
}

func (a *asked) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	tx, err := a.Store.Begin(ctx, opts)
	return askedTx{tx, a}, err
}

type askedTx struct {
	backend.Tx
	a *asked
}

func (x askedTx) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if q.Values {
		x.a.again = append(x.a.again, q.Limit)
	}
	return x.Tx.List(ctx, q)
}

// Large values are not taken along, and few of them are asked for to find out. What is
// taken and not the same any more is not listed to its end.
func TestLargeValuesAreNotTaken(t *testing.T) {
	a := &asked{Store: newMemory()}
	b, ctx := over(t, a, nil), t.Context()
	const keys = 3 * hosting.FirstPage
	large := strings.Repeat("x", maxSnapshotBytes/hosting.FirstPage)
	for i := range keys {
		put(t, b, fmt.Sprintf("large/%03d", i), large)
		put(t, b, fmt.Sprintf("small/%03d", i), "1")
	}
	for _, change := range []bool{false, true} {
		tx := beginReadOnly(t, b)
		a.listed = nil
		names, err := tx.List(ctx, "large/")
		require.NoError(t, err)
		require.Len(t, names, keys)
		require.Equal(t, []int{hosting.FirstPage}, a.listed)
		require.Equal(t, large, get(t, tx, "large/001"))
		if change {
			require.NoError(t, b.Delete(ctx, "large/002"))
			require.Nil(t, get(t, tx, "large/002"))
			require.ErrorIs(t, tx.Commit(ctx), physical.ErrTransactionCommitFailure)
		} else {
			require.NoError(t, tx.Commit(ctx))
		}
	}

	for i := range keys {
		value := "1"
		if i < hosting.FirstPage {
			value = strings.Repeat("x", maxSnapshotBytes/82)
		}
		put(t, b, fmt.Sprintf("mixed/%03d", i), value)
	}
	tx := beginReadOnly(t, b)
	a.listed = nil
	_, err := tx.List(ctx, "mixed/")
	require.NoError(t, err)
	require.Equal(t, []int{64, 96, 144, 216}, a.listed)
	require.NoError(t, b.Delete(ctx, "mixed/191"))
	require.Equal(t, "1", get(t, tx, "mixed/191"), "it fits")

	tx = beginReadOnly(t, b)
	a.listed = nil
	_, err = tx.List(ctx, "small/")
	require.NoError(t, err)
	require.Equal(t, []int{hosting.FirstPage, maxSnapshot}, a.listed)
	require.Nil(t, get(t, tx, "another read"))
	for i := range 2 * keys {
		put(t, b, fmt.Sprintf("small/more/%03d", i), "1")
	}
	require.Equal(t, "1", get(t, tx, "small/191"), "it was taken")
	require.ErrorIs(t, tx.Commit(ctx), physical.ErrTransactionCommitFailure)
	require.Equal(t, []int{keys + 1}, a.again)
}

// All listings of a transaction share its room.
func TestListingsShareTheRoom(t *testing.T) {
	b, ctx := over(t, newMemory(), nil), t.Context()
	value := strings.Repeat("x", maxSnapshotBytes*2/3)
	put(t, b, "a/k", value)
	put(t, b, "b/k", value)
	tx := beginReadOnly(t, b)
	for _, prefix := range []string{"a/", "b/"} {
		_, err := tx.List(ctx, prefix)
		require.NoError(t, err)
		require.NoError(t, b.Delete(ctx, prefix+"k"))
	}
	require.Equal(t, value, get(t, tx, "a/k"))
	require.Nil(t, get(t, tx, "b/k"), "there was no room for it")
	require.ErrorIs(t, tx.Commit(ctx), physical.ErrTransactionCommitFailure)
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

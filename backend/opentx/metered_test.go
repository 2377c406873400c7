package opentx

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// A bottomless is a transaction that takes every write, but none that is to fail.
type bottomless struct {
	backend.Tx
	writes *int
	fails  error
}

func (b bottomless) Put(context.Context, string, []byte, backend.PutOptions) error {
	*b.writes++
	return b.fails
}

func (b bottomless) Delete(context.Context, string, backend.DeleteOptions) error {
	*b.writes++
	return b.fails
}

func (b bottomless) Rollback(context.Context) error { return nil }

// metering is a table of bottomless transactions.
type metering struct {
	*testing.T
	*Table[int]
	writes int
}

func newMetering(t *testing.T) *metering {
	m := &metering{T: t, Table: newTable()}
	t.Cleanup(m.Close)
	return m
}

func (m *metering) begin(fails error) int {
	m.Helper()
	id, err := m.Begin(m.Context(), func() (backend.Tx, error) { return bottomless{writes: &m.writes, fails: fails}, nil })
	require.NoError(m, err)
	return id
}

// put writes so many bytes, key included, in a transaction.
func (m *metering) put(id int, key string, n int) error {
	m.Helper()
	tx, done, err := m.Use(id, false)
	require.NoError(m, err)
	defer done()
	return tx.Put(m.Context(), key, make([]byte, n-len(key)), backend.PutOptions{})
}

// end carries out the last call of a transaction.
func (m *metering) end(id int) {
	m.Helper()
	_, done, err := m.Use(id, true)
	require.NoError(m, err)
	done()
}

// full is one of the transactions that fill a table.
const full = backend.MaxTxnSize

// fill begins transactions until there is no more room, and returns them.
func (m *metering) fill() []int {
	m.Helper()
	var ids []int
	for range MaxBytes / full {
		ids = append(ids, m.begin(nil))
		require.NoError(m, m.put(ids[len(ids)-1], "k", full))
	}
	return ids
}

// What all transactions together have written is bounded. A write above that is
// refused before the transaction sees it; the transaction stays and may go on.
func TestMaxBytes(t *testing.T) {
	m := newMetering(t)
	filled := m.fill()
	late := m.begin(nil)
	writes := m.writes
	err := m.put(late, "late", 5)
	require.Equal(t, backend.NotReady, backend.CodeOf(err))
	require.ErrorContains(t, err, "268435456")
	require.ErrorContains(t, err, "roll them back")
	tx, done, err := m.Use(late, false)
	require.NoError(t, err)
	require.Equal(t, backend.NotReady, backend.CodeOf(tx.Delete(t.Context(), "late", backend.DeleteOptions{})), "the key counts as well")
	done()
	require.Equal(t, writes, m.writes, "it was not refused before")

	m.end(filled[0])
	require.NoError(t, m.put(late, "late", 5))
	require.NoError(t, m.put(late, "more", full-5))
	require.ErrorIs(t, m.put(filled[1], "more", 5), backend.ErrNotReady)
}

// A key counts once, as it was written last.
func TestRewritten(t *testing.T) {
	m := newMetering(t)
	filled := m.fill()
	id := filled[0]
	for range 3 {
		require.NoError(t, m.put(id, "k", full))
	}
	require.ErrorIs(t, m.put(id, "k", full+1), backend.ErrNotReady)
	require.NoError(t, m.put(id, "k", full-10))
	require.NoError(t, m.put(filled[1], "more", 10))
	tx, done, err := m.Use(id, false)
	require.NoError(t, err)
	require.NoError(t, tx.Delete(t.Context(), "k", backend.DeleteOptions{}))
	done()
	require.NoError(t, m.put(filled[1], "yet more", full-len("k")-10))
	require.ErrorIs(t, m.put(filled[2], "m", 1), backend.ErrNotReady)
}

// A write that failed counts for nothing, and that before it still counts.
func TestFailedWrites(t *testing.T) {
	m := newMetering(t)
	failing := m.begin(errors.New("no"))
	for range 2 * MaxBytes / full {
		require.EqualError(t, m.put(failing, "k", full), "no")
	}
	m.fill()
	require.ErrorIs(t, m.put(failing, "k", 1), backend.ErrNotReady)
}

// Whatever ends a transaction makes room, once its last call is over.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMetering(t)
		for range 3 {
			for i, id := range m.fill() {
				if i%2 == 0 {
					_, first, err := m.Use(id, false)
					require.NoError(t, err)
					m.end(id)
					if i == 0 {
						require.ErrorIs(t, m.put(m.begin(nil), "k", 1), backend.ErrNotReady, "a call still uses it")
					}
					first()
				}
			}
			<-time.After(idle) // the others are left alone
			synctest.Wait()
			require.Zero(t, m.Len())
			require.Zero(t, m.kept)
		}
	})
}

// Many transactions of small writes do not reach the limit.
func TestSmallTransactions(t *testing.T) {
	m := newMetering(t)
	for range most {
		id := m.begin(nil)
		for i := range backend.MaxTxnOps {
			require.NoError(t, m.put(id, fmt.Sprintf("key/%03d", i), 3000))
		}
	}
}

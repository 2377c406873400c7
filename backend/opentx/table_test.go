package opentx

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	most     = 512
	idle     = time.Minute
	rollback = time.Second
)

func newTable() *Table[int] {
	last := 0
	return New(Config[int]{Max: most, Idle: idle, Rollback: rollback, NewID: func() int { last++; return last }})
}

// A noted is a transaction that notes its end.
type noted struct {
	backend.Tx
	ended chan string
}

func newNoted() *noted { return &noted{ended: make(chan string, 2)} }

func (n *noted) Rollback(context.Context) error {
	n.ended <- "rolled back"
	return nil
}

// Closing rolls back what is open, and what is in use when its last call has ended.
// What begins too late is not kept.
func TestCloseRollsBack(t *testing.T) {
	table := newTable()
	unused, used, late, given := newNoted(), newNoted(), newNoted(), newNoted()
	begin := func(ctx context.Context, tx *noted) (int, error) {
		return table.Begin(ctx, func() (backend.Tx, error) { return tx, nil })
	}
	_, err := begin(t.Context(), unused)
	require.NoError(t, err)
	id, err := begin(t.Context(), used)
	require.NoError(t, err)
	tx, done, err := table.Use(id, false)
	require.NoError(t, err)
	require.Equal(t, used, tx.(*metered[int]).Tx)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = begin(cancelled, given)
	require.ErrorIs(t, err, ErrGivenUp)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "rolled back", <-given.ended)
	_, err = table.Begin(t.Context(), func() (backend.Tx, error) { return nil, fmt.Errorf("no") })
	require.ErrorContains(t, err, "no")
	require.Equal(t, 2, table.Len())
	_, err = table.Begin(t.Context(), func() (backend.Tx, error) {
		table.Close()
		return late, nil
	})
	require.ErrorIs(t, err, ErrClosed)

	require.Equal(t, "rolled back", <-unused.ended)
	require.Equal(t, "rolled back", <-late.ended)
	require.Empty(t, used.ended)
	done()
	require.Equal(t, "rolled back", <-used.ended)
	_, _, err = table.Use(id, false)
	require.ErrorIs(t, err, ErrClosed)
	_, err = begin(t.Context(), newNoted())
	require.ErrorIs(t, err, ErrClosed)
}

// A stuck is a transaction whose rollback waits for its context.
type stuck struct {
	backend.Tx
	waits chan<- struct{}
}

func (s stuck) Rollback(ctx context.Context) error {
	s.waits <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// Transactions whose rollback hangs take none of the time that the backend has for
// closing, however many they are.
func TestCloseWithStuckTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		waits := make(chan struct{}, most)
		for range most {
			_, err := table.Begin(t.Context(), func() (backend.Tx, error) { return stuck{waits: waits}, nil })
			require.NoError(t, err)
		}
		start := time.Now()
		table.Close()
		require.Equal(t, rollback, time.Since(start))
		require.Len(t, waits, most, "one was not told")
	})
}

// As many as may be open count from when they begin, and what ends makes room.
func TestFull(t *testing.T) {
	table := newTable()
	defer table.Close()
	begin := func() (int, error) {
		return table.Begin(t.Context(), func() (backend.Tx, error) { return newNoted(), nil })
	}
	for range most - 1 {
		_, err := begin()
		require.NoError(t, err)
	}
	last, err := table.Begin(t.Context(), func() (backend.Tx, error) {
		_, err := begin()
		require.ErrorIs(t, err, ErrFull)
		return newNoted(), nil
	})
	require.NoError(t, err)
	_, err = begin()
	require.ErrorIs(t, err, ErrFull)
	_, done, err := table.Use(last, true)
	require.NoError(t, err)
	_, _, err = table.Use(last, false)
	require.ErrorIs(t, err, ErrGone, "it is over for all others")
	_, err = begin()
	require.NoError(t, err)
	done()
	require.Equal(t, most, table.Len())
}

// One that nobody uses is rolled back, and not before.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		defer table.Close()
		tx := newNoted()
		id, err := table.Begin(t.Context(), func() (backend.Tx, error) { return tx, nil })
		require.NoError(t, err)
		for range 3 {
			<-time.After(idle - 1)
			_, done, err := table.Use(id, false)
			require.NoError(t, err)
			<-time.After(2 * idle) // a call that takes long is no idleness
			done()
		}
		<-time.After(idle - 1)
		synctest.Wait()
		require.Empty(t, tx.ended)
		<-time.After(1)
		require.Equal(t, "rolled back", <-tx.ended)
		_, _, err = table.Use(id, false)
		require.ErrorIs(t, err, ErrGone)
	})
}

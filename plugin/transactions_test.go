package plugin

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/backend/opentx"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// A noted is a transaction that notes its end.
type noted struct {
	backend.Tx
	ended chan string
	// waits, if it is not nil, keeps Put until the context is done.
	waits chan struct{}
}

func newNoted(t *testing.T, store *memory.Store) *noted {
	t.Helper()
	tx, err := store.Begin(t.Context(), backend.TxOptions{})
	require.NoError(t, err)
	return &noted{Tx: tx, ended: make(chan string, 2)}
}

func (n *noted) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
	if n.waits != nil {
		close(n.waits)
		<-ctx.Done()
	}
	return n.Tx.Put(context.WithoutCancel(ctx), key, value, opts)
}

func (n *noted) Commit(ctx context.Context) error {
	n.ended <- "committed"
	return n.Tx.Commit(ctx)
}

func (n *noted) Rollback(ctx context.Context) error {
	n.ended <- "rolled back"
	return n.Tx.Rollback(ctx)
}

// A transaction that nobody uses is rolled back, and not before.
func TestIdleTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(backend.DefaultLimits())
		tx := newNoted(t, store)
		s := newService(func(context.Context, map[string]string) (backend.Backend, backend.Admin, error) {
			return scripted{Store: store, begin: func() (backend.Tx, error) { return tx, nil }}, nil, nil
		}, "1")
		defer func() { require.NoError(t, s.close()) }()
		_, err := s.Configure(t.Context(), &proto.ConfigureRequest{})
		require.NoError(t, err)
		begun, err := s.Begin(t.Context(), &proto.BeginRequest{})
		require.NoError(t, err)
		get := func() error {
			_, err := s.TxGet(t.Context(), &proto.TxGetRequest{Transaction: begun.GetTransaction(), Key: []byte("k")})
			return err
		}
		for range 5 {
			<-time.After(idleTimeout - time.Nanosecond)
			require.NoError(t, get())
		}

		// A call that takes long is no idleness.
		tx.waits = make(chan struct{})
		long, cancel := context.WithTimeout(t.Context(), 3*idleTimeout)
		defer cancel()
		_, err = s.TxPut(long, &proto.TxPutRequest{Transaction: begun.GetTransaction(), Put: &proto.PutRequest{Key: []byte("k")}})
		require.NoError(t, err)
		require.NoError(t, get())

		<-time.After(idleTimeout)
		synctest.Wait()
		require.Equal(t, "rolled back", <-tx.ended)
		err = get()
		require.Equal(t, backend.TxnDone, codeOf(err))
		require.ErrorContains(t, err, "nobody used it for 1m0s")
		require.Zero(t, s.transactions.table.Len())
		e, err := store.Get(t.Context(), "k", backend.GetOptions{})
		require.NoError(t, err)
		require.Nil(t, e)
	})
}

// There is a limit, and what ends makes room.
func TestTooManyTransactions(t *testing.T) {
	c, _ := connect(t, memory.New(backend.DefaultLimits()), nil)
	var open []backend.Tx
	for range maxTransactions {
		tx, err := c.Begin(t.Context(), backend.TxOptions{})
		require.NoError(t, err)
		open = append(open, tx)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for i, end := range []func(tx backend.Tx) error{
		func(tx backend.Tx) error { return tx.Rollback(t.Context()) },
		func(tx backend.Tx) error { return tx.Commit(t.Context()) },
		func(tx backend.Tx) error { // nothing is sent, and the plugin is told all the same
			require.Equal(t, backend.NoQuorum, backend.CodeOf(tx.Commit(cancelled)))
			return nil
		},
		func(tx backend.Tx) error {
			require.Equal(t, backend.NoQuorum, backend.CodeOf(tx.Rollback(cancelled)))
			return nil
		},
	} {
		_, err := c.Begin(t.Context(), backend.TxOptions{})
		require.Equal(t, backend.NotReady, backend.CodeOf(err))
		require.ErrorContains(t, err, "512")
		require.NoError(t, end(open[i]))
		require.Equal(t, backend.TxnDone, backend.CodeOf(open[i].Commit(t.Context())))
		_, err = c.Begin(t.Context(), backend.TxOptions{})
		require.NoError(t, err, i)
	}
}

// A light is a transaction that keeps no value.
type light struct{ backend.Tx }

func (l light) Put(ctx context.Context, key string, _ []byte, opts backend.PutOptions) error {
	return l.Tx.Put(ctx, key, nil, opts)
}

// What all transactions have written together is bounded. A write above that is
// refused, and the transaction may go on without it.
func TestTransactionsWriteTooMuch(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	c, _ := connect(t, scripted{Store: store, begin: func() (backend.Tx, error) { return light{newNoted(t, store)}, nil }}, nil)
	begin := func() backend.Tx {
		tx, err := c.Begin(t.Context(), backend.TxOptions{})
		require.NoError(t, err)
		return tx
	}
	ctx, value, opts := t.Context(), make([]byte, backend.MaxTxnSize-len("k")), backend.PutOptions{}
	last := begin()
	require.NoError(t, last.Put(ctx, "a", nil, opts))
	var first backend.Tx
	for range opentx.MaxBytes/backend.MaxTxnSize - 1 {
		tx := begin()
		require.NoError(t, tx.Put(ctx, "k", value, opts))
		if first == nil {
			first = tx
		}
	}
	require.NoError(t, last.Put(ctx, "b", value[:len(value)-len("a")], opts))
	err := last.Put(ctx, "refused", nil, opts)
	require.Equal(t, backend.NotReady, backend.CodeOf(err))
	require.ErrorContains(t, err, "commit others or roll them back")
	require.ErrorIs(t, begin().Put(ctx, "k", nil, opts), backend.ErrNotReady)

	require.NoError(t, first.Rollback(ctx))
	require.NoError(t, last.Put(ctx, "c", nil, opts))
	require.NoError(t, last.Commit(ctx))
	all, err := c.List(ctx, backend.ListQuery{})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, all.Names())
}

// A write that was given up may be part of the transaction or not, so that this
// does not commit.
func TestDoubtfulWrite(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	var begun *noted
	c, _ := connect(t, scripted{Store: store, begin: func() (backend.Tx, error) {
		begun = newNoted(t, store)
		begun.waits = make(chan struct{})
		return begun, nil
	}}, nil)
	for _, commit := range []bool{true, false} {
		tx, err := c.Begin(t.Context(), backend.TxOptions{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		put := make(chan error, 1)
		go func() { put <- tx.Put(ctx, "k", []byte("wrong"), backend.PutOptions{}) }()
		<-begun.waits
		cancel()
		require.Equal(t, backend.NoQuorum, backend.CodeOf(<-put))
		_, err = tx.Get(t.Context(), "k")
		require.Equal(t, backend.TxnConflict, backend.CodeOf(err))
		require.ErrorContains(t, err, "begin it anew")
		require.Equal(t, backend.TxnConflict, backend.CodeOf(tx.Delete(t.Context(), "k", backend.DeleteOptions{})))
		if commit {
			require.Equal(t, backend.TxnConflict, backend.CodeOf(tx.Commit(t.Context())))
		} else {
			require.NoError(t, tx.Rollback(t.Context()))
		}
		require.Equal(t, "rolled back", <-begun.ended)
		require.Equal(t, backend.TxnDone, backend.CodeOf(tx.Rollback(t.Context())))
	}
	e, err := c.Get(t.Context(), "k", backend.GetOptions{})
	require.NoError(t, err)
	require.Nil(t, e)
}

// What the table of transactions says is said to the host in the contract's codes.
func TestCodesOfTransactions(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	ts := newTransactions()
	begin := func(ctx context.Context) (uint64, error) {
		return ts.begin(ctx, func() (backend.Tx, error) { return newNoted(t, store), nil })
	}
	number, err := begin(t.Context())
	require.NoError(t, err)
	for _, unknown := range []uint64{0, number + 1} {
		_, _, err = ts.use(unknown, false)
		require.ErrorIs(t, err, backend.ErrInvalid)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = begin(cancelled)
	require.ErrorIs(t, err, backend.ErrNoQuorum)
	ts.table.Close()
	_, _, err = ts.use(number, false)
	require.ErrorIs(t, err, backend.ErrClosed)
	_, err = begin(t.Context())
	require.ErrorIs(t, err, backend.ErrClosed)
}

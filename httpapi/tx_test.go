package httpapi

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// TestInteractiveTransaction is one by hand.
func TestInteractiveTransaction(t *testing.T) {
	n := serve(t, nil)
	require.Equal(t, "true", n.send("PUT", "/v1/kv/a", "1").body)
	var tx wireBegun
	require.NoError(t, json.Unmarshal([]byte(n.send("POST", "/v1/chord/tx/begin", "").body), &tx))
	do := func(what, more, body string) response {
		return n.send("POST", "/v1/chord/tx/"+what+"?id="+tx.ID+more, body)
	}
	require.Contains(t, do("get", "&key=a", "").body, `"Value":"MQ=="`)
	require.Equal(t, 404, do("get", "&key=b", "").status)
	require.Equal(t, "true", do("put", "&key=b&flags=7&expires_after=1m", "2").body)
	require.Equal(t, "true", do("delete", "&key=a", "").body)
	require.Equal(t, `[{"LockIndex":0,"Key":"b","Flags":7,"Value":"Mg==","CreateIndex":0,"ModifyIndex":0,"ExpiresAfter":"1m0s"}]`, do("get", "&key=b", "").body)
	require.Contains(t, do("list", "&values", "").body, `{"Items":[{"Name":"b","Entry":{`)
	for _, tc := range []struct{ what, more, text string }{
		{"put", "", "the key is empty; give a key of 1 to 2048 bytes"},
		{"put", "&key=b&flags=x", `strconv.ParseUint: parsing "x": invalid syntax`},
		{"put", "&key=b&cas=1", `invalid: key "b": a condition has no place in an interactive transaction; read the key in it instead`},
		{"put", "&key=b&cas=x", `strconv.ParseUint: parsing "x": invalid syntax`},
		{"put", "&key=b&expires_after=x", `Invalid expires_after "x": give a duration, for example 30s`},
		{"put", "&key=b&fence_token=x", `Invalid fence_token "x": give a whole number of up to 64 bits`},
		{"delete", "&key=b&cas=0", `invalid: key "b": a condition has no place in an interactive transaction; read the key in it instead`},
		{"delete", "&key=b&fence_token=x", `Invalid fence_token "x": give a whole number of up to 64 bits`},
		{"delete", "&key=%2Fb", `invalid: key "/b": a key must not begin with '/'; leave the slash out`},
		{"get", "&key=", "the key is empty; give a key of 1 to 2048 bytes"},
		{"list", "&limit=x", `Invalid limit "x": give a number of items, or 0 for all`},
		{"list", "&prefix=%2F", `invalid: key "/": a key must not begin with '/'; leave the slash out`},
		{"commit", "&ns=team", `Invalid query parameter: "ns" - namespaces and partitions do not exist here`},
	} {
		got := do(tc.what, tc.more, "wrong")
		require.Equal(t, tc.text+"\n", got.body, "%s %s", tc.what, tc.more)
		require.GreaterOrEqual(t, got.status, 400)
	}
	requireTooLarge(t, do("put", "&key=c", strings.Repeat("x", DefaultMaxValueSize+1)))
	require.Equal(t, 404, n.send("GET", "/v1/kv/b", "").status, "before the commit")
	require.Equal(t, 1, n.handler.Stats().Transactions)
	require.Equal(t, "true", do("commit", "", "").body)
	require.Equal(t, 0, n.handler.Stats().Transactions)
	require.Equal(t, `["b"]`, n.send("GET", "/v1/kv/?keys", "").body)
	for _, what := range []string{"get", "list", "put", "delete", "commit", "rollback"} {
		got := do(what, "&key=a", "")
		require.Equal(t, 409, got.status, what)
		require.Equal(t, "transaction is done", got.header.Get(headerCode), what)
	}
}

func TestOpenTransactionsAreBounded(t *testing.T) {
	n := serve(t, nil)
	c := n.client()
	var open []backend.Tx
	for range maxOpenTx {
		tx, err := c.Begin(t.Context(), backend.TxOptions{})
		require.NoError(t, err)
		open = append(open, tx)
	}
	_, err := c.Begin(t.Context(), backend.TxOptions{})
	require.ErrorIs(t, err, backend.ErrNotReady)
	require.ErrorContains(t, err, "256 transactions are open")
	require.NoError(t, open[0].Rollback(t.Context()))
	_, err = c.Begin(t.Context(), backend.TxOptions{})
	require.NoError(t, err)
}

// ended is a transaction that tells when it is rolled back.
type ended struct {
	backend.Tx
	rolledBack chan struct{}
}

func (e *ended) Rollback(ctx context.Context) error {
	defer close(e.rolledBack)
	return e.Tx.Rollback(ctx)
}

// telling is a store whose transactions are told of.
type telling struct {
	*memory.Store
	begun []*ended
}

func (s *telling) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	tx, err := s.Store.Begin(ctx, opts)
	e := &ended{Tx: tx, rolledBack: make(chan struct{})}
	s.begun = append(s.begun, e)
	return e, err
}

// TestIdleTransactionsAreRolledBack, but not one that is in use.
func TestIdleTransactionsAreRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &telling{Store: memory.New(backend.DefaultLimits())}
		defer s.Store.Close()
		h := New(Config{Backend: s, Admin: newAdmin()})
		defer h.Close()
		send := func(target string) (int, string) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("POST", target, nil))
			return rec.Code, rec.Body.String()
		}
		begin := func() string {
			_, body := send("/v1/chord/tx/begin")
			var tx wireBegun
			require.NoError(t, json.Unmarshal([]byte(body), &tx))
			return tx.ID
		}
		idle, busy := begin(), begin()
		for range 5 {
			<-time.After(txIdle / 2)
			code, body := send("/v1/chord/tx/put?key=k&id=" + busy)
			require.Equal(t, 200, code, body)
		}
		<-s.begun[0].rolledBack
		code, body := send("/v1/chord/tx/get?key=k&id=" + idle)
		require.Equal(t, 409, code)
		require.Contains(t, body, "left alone for 1m0s")
		require.Equal(t, 1, h.Stats().Transactions)

		// One that is in use for longer than that.
		tx, done, err := h.txs.Use(busy, false)
		require.NoError(t, err)
		<-time.After(2 * txIdle)
		_, err = tx.Get(t.Context(), "k")
		require.NoError(t, err)
		done()
		<-time.After(txIdle - 1)
		require.Equal(t, 1, h.Stats().Transactions)
		<-s.begun[1].rolledBack
		require.Equal(t, 0, h.Stats().Transactions)

		// Close rolls back what is open and takes no more.
		begin()
		require.NoError(t, h.Close())
		<-s.begun[2].rolledBack
		code, body = send("/v1/chord/tx/begin")
		require.Equal(t, 503, code)
		require.Contains(t, body, "the agent is stopping")
		require.Len(t, s.begun, 3, "nothing is begun that would have to be rolled back")
		require.NoError(t, h.Close(), "closing twice")
	})
}

// TestTransactionAtAnotherAgent is over: the client learns it.
func TestTransactionAtAnotherAgent(t *testing.T) {
	tx, err := serve(t, nil).client().Begin(t.Context(), backend.TxOptions{})
	require.NoError(t, err)
	tx.(*clientTx).c = serve(t, nil).client()
	_, err = tx.Get(t.Context(), "k")
	require.ErrorIs(t, err, backend.ErrTxnDone)
	require.ErrorContains(t, err, "begun at another agent")
}

// slowCommits is a backend whose transactions do not come to their end in time.
type slowCommits struct {
	backend.Backend
	backend.Transactional
}

func (s slowCommits) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	tx, err := s.Transactional.Begin(ctx, opts)
	return slowTx{tx}, err
}

type slowTx struct{ backend.Tx }

func (slowTx) Commit(ctx context.Context) error {
	<-ctx.Done()
	return backend.Errorf(backend.NoQuorum, "", "too few")
}

// TestCommitIsSentOnce: the agent knows the transaction only once, so that a second
// commit would be told that it is over, and not why.
func TestCommitIsSentOnce(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	n := serve(t, func(cfg *Config) { cfg.Backend, cfg.MaxTimeout = slowCommits{store, store}, 200*time.Millisecond })
	tx, err := n.client().Begin(t.Context(), backend.TxOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, tx.Commit(context.Background()), backend.ErrNoQuorum)
	require.ErrorIs(t, tx.Commit(context.Background()), backend.ErrTxnDone)
}

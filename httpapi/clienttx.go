package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"

	"github.com/chord-plugin/chord-plugin/backend"
)

// clientTx is an interactive transaction at the agent.
type clientTx struct {
	c        *Client
	id       string
	readOnly bool
	// done is set by Commit and Rollback, also by those that never reached the
	// agent, which rolls back what is left alone.
	done atomic.Bool
}

// Begin starts an interactive transaction with POST /v1/chord/tx/begin. The agent
// rolls it back when it hears nothing of it for a minute.
func (c *Client) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	what := call{method: http.MethodPost, path: "/v1/chord/tx/begin", query: url.Values{}, harmless: true}
	if opts.ReadOnly {
		what.query.Set("read_only", "")
	}
	got, err := c.do(ctx, what)
	if err != nil {
		return nil, err
	}
	var begun wireBegun
	if err := c.decode(what, got, &begun); err != nil {
		return nil, err
	}
	return &clientTx{c: c, id: begun.ID, readOnly: opts.ReadOnly}, nil
}

// call is a call for the transaction; key is not sent when it is empty.
func (t *clientTx) call(name, key string) call {
	what := call{method: http.MethodPost, path: "/v1/chord/tx/" + name, key: key, query: url.Values{"id": {t.id}}}
	if key != "" {
		what.query.Set("key", key)
	}
	return what
}

// checkOpen returns an error about key when the transaction is over.
func (t *clientTx) checkOpen(key string) error {
	if t.done.Load() {
		return errOver(key)
	}
	return nil
}

func errOver(key string) error {
	return backend.Errorf(backend.TxnDone, key, "the transaction was committed or rolled back; begin a new one")
}

// Get reads a key with POST /v1/chord/tx/get.
func (t *clientTx) Get(ctx context.Context, key string) (*backend.Entry, error) {
	if err := t.checkOpen(key); err != nil {
		return nil, err
	}
	what := t.call("get", key)
	what.harmless, what.missing = true, true
	return t.c.one(ctx, what)
}

// List lists names or entries with POST /v1/chord/tx/list.
func (t *clientTx) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if err := t.checkOpen(q.Prefix); err != nil {
		return nil, err
	}
	what := t.call("list", "")
	what.key, what.harmless = q.Prefix, true
	return t.c.list(ctx, what, q)
}

// Put stores a value with POST /v1/chord/tx/put.
func (t *clientTx) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
	what := t.call("put", key)
	what.body = value
	if what.body == nil {
		what.body = []byte{}
	}
	setCAS(what.query, opts.If)
	setPut(what.query, opts)
	return t.write(ctx, what)
}

// Delete removes a key with POST /v1/chord/tx/delete.
func (t *clientTx) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	what := t.call("delete", key)
	setCAS(what.query, opts.If)
	setFence(what.query, opts.Fence)
	return t.write(ctx, what)
}

func (t *clientTx) write(ctx context.Context, what call) error {
	if err := t.checkOpen(what.key); err != nil {
		return err
	}
	what.again, what.doubt = true, "do it again, or roll the transaction back"
	_, err := t.c.change(ctx, what)
	return err
}

// Commit commits with POST /v1/chord/tx/commit.
func (t *clientTx) Commit(ctx context.Context) error { return t.end(ctx, "commit") }

// Rollback ends the transaction with POST /v1/chord/tx/rollback.
func (t *clientTx) Rollback(ctx context.Context) error { return t.end(ctx, "rollback") }

func (t *clientTx) end(ctx context.Context, how string) error {
	if t.done.Swap(true) {
		return errOver("")
	}
	what := t.call(how, "")
	what.single = true // it takes the transaction from the agent's table
	what.harmless, what.doubt = t.readOnly || how == "rollback", "read what it wrote to see what holds"
	_, err := t.c.change(ctx, what)
	return err
}

package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Get reads a key with GET /v1/kv/KEY.
func (c *Client) Get(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
	what := call{method: http.MethodGet, path: "/v1/kv/" + key, key: key, missing: true}
	if opts.Stale {
		what.query = url.Values{"stale": {""}}
	}
	return c.one(ctx, what)
}

// Put writes a key with PUT /v1/kv/KEY.
func (c *Client) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	what := call{method: http.MethodPut, path: "/v1/kv/" + key, key: key, body: value, query: url.Values{}}
	setCAS(what.query, opts.If)
	if what.body == nil {
		what.body = []byte{}
	}
	setPut(what.query, opts)
	got, err := c.change(ctx, what)
	if err != nil {
		return 0, err
	}
	index, err := strconv.ParseUint(got.header.Get(headerIndex), 10, 64)
	if err != nil {
		return 0, backend.Errorf(backend.Internal, key, "%s stored the value and did not say at which index, so it is no chord-plugin agent; check -http-addr or CHORD_HTTP_ADDR", c.base.Host)
	}
	return index, nil
}

// Delete removes a key with DELETE /v1/kv/KEY.
func (c *Client) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	what := call{method: http.MethodDelete, path: "/v1/kv/" + key, key: key, query: url.Values{}}
	setCAS(what.query, opts.If)
	setFence(what.query, opts.Fence)
	_, err := c.change(ctx, what)
	return err
}

// Pop reads and deletes a key with POST /v1/chord/pop/KEY.
func (c *Client) Pop(ctx context.Context, key string) (*backend.Entry, error) {
	return c.one(ctx, call{method: http.MethodPost, path: "/v1/chord/pop/" + key, key: key, missing: true})
}

// PopItem pops any key with POST /v1/chord/popitem.
func (c *Client) PopItem(ctx context.Context) (*backend.Entry, error) {
	return c.one(ctx, call{method: http.MethodPost, path: "/v1/chord/popitem", missing: true})
}

// List lists names or entries with GET /v1/chord/list.
func (c *Client) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	what := call{method: http.MethodGet, path: "/v1/chord/list", key: q.Prefix, query: url.Values{}}
	return c.list(ctx, what, q)
}

// list makes a call that answers with a page.
func (c *Client) list(ctx context.Context, what call, q backend.ListQuery) (*backend.ListResult, error) {
	for name, value := range map[string]string{"prefix": q.Prefix, "separator": q.Separator, "after": q.After} {
		if value != "" {
			what.query.Set(name, value)
		}
	}
	if q.Limit > 0 {
		what.query.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Values {
		what.query.Set("values", "")
	}
	got, err := c.do(ctx, what)
	if err != nil {
		return nil, err
	}
	var page wireList
	if err := c.decode(what, got, &page); err != nil {
		return nil, err
	}
	out := &backend.ListResult{More: page.More, Index: page.Index}
	for _, it := range page.Items {
		item := backend.ListItem{Name: it.Name, Folded: it.Folded}
		if it.RawName != nil {
			item.Name = string(it.RawName)
		}
		if it.Entry != nil {
			item.Entry = it.Entry.entry()
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}

// setCAS sets what query.condition reads.
func setCAS(q url.Values, condition backend.Condition) {
	if index, ok := condition.Index(); ok {
		q.Set("cas", strconv.FormatUint(index, 10))
	}
}

// one makes a call that answers with one entry, or 404 for none.
func (c *Client) one(ctx context.Context, what call) (*backend.Entry, error) {
	got, err := c.do(ctx, what)
	if err != nil || got.status == http.StatusNotFound {
		return nil, err
	}
	var entries []wireEntry
	if err := c.decode(what, got, &entries); err != nil {
		return nil, err
	}
	if len(entries) != 1 {
		return nil, backend.Errorf(backend.Internal, what.key, "%s answered with %d entries for one key", c.base.Host, len(entries))
	}
	return entries[0].entry(), nil
}

// change makes a call that answers true, or false for a condition that did not
// hold.
func (c *Client) change(ctx context.Context, what call) (*reply, error) {
	got, err := c.do(ctx, what)
	if err != nil {
		return nil, err
	}
	if e := readError(got.header); e != nil {
		return nil, e // also with true: a delete of what is not there; see kvDelete
	}
	switch strings.TrimSpace(string(got.body)) {
	case "true":
		return got, nil
	case "false":
		return nil, backend.Errorf(backend.Conflict, what.key, "the condition did not hold")
	}
	return nil, backend.Errorf(backend.UnknownOutcome, what.key, "%s answered neither true nor false", c.base.Host)
}

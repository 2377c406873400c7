package backendtest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/chord-plugin/chord-plugin/backend"
)

var popFaults = []fault{
	{name: "Pop does not delete", caught: []string{"Pop takes the entry away", "GetOr and PopOr fall back for a missing key only", "random changes agree with a map"}, breaks: func(h *hooks) {
		h.pop = func(ctx context.Context, key string) (*backend.Entry, error) {
			return h.Backend.Get(ctx, key, backend.GetOptions{})
		}
	}},
	{name: "Pop reads and deletes in two changes", caught: []string{"Pop gives a value to exactly one of many callers"}, breaks: func(h *hooks) {
		var w window
		h.pop = func(ctx context.Context, key string) (*backend.Entry, error) {
			e, err := h.Backend.Get(ctx, key, backend.GetOptions{})
			if err != nil || e == nil {
				return nil, err
			}
			w.enter()
			return e, h.Backend.Delete(ctx, key, backend.DeleteOptions{})
		}
	}},
	{name: "Pop of a missing key is an empty entry", caught: []string{"Pop of a missing key is nil and no error"}, breaks: func(h *hooks) {
		h.pop = func(ctx context.Context, key string) (*backend.Entry, error) {
			e, err := h.Backend.Pop(ctx, key)
			if e == nil && err == nil {
				e = &backend.Entry{Key: key}
			}
			return e, err
		}
	}},
	{name: "PopItem does not delete", caught: []string{"PopItem gives every key once and then nothing"}, breaks: func(h *hooks) {
		h.popItem = func(ctx context.Context) (*backend.Entry, error) { return h.first(ctx) }
	}},
	{name: "PopItem reads and deletes in two changes", caught: []string{"PopItem gives a key to one of many callers"}, breaks: func(h *hooks) {
		var w window
		h.popItem = func(ctx context.Context) (*backend.Entry, error) {
			e, err := h.first(ctx)
			if err != nil || e == nil {
				return nil, err
			}
			w.enter()
			return e, h.Backend.Delete(ctx, e.Key, backend.DeleteOptions{})
		}
	}},
}

// first returns the first entry of all.
func (h *hooks) first(ctx context.Context) (*backend.Entry, error) {
	res, err := h.Backend.List(ctx, backend.ListQuery{Limit: 1, Values: true})
	if err != nil || len(res.Items) == 0 {
		return nil, err
	}
	return res.Items[0].Entry, nil
}

var listFaults = []fault{
	{name: "List drops empty values", caught: []string{"an empty value is a value", "random changes agree with a map"}, breaks: func(h *hooks) {
		h.result(func(_ backend.ListQuery, res *backend.ListResult) {
			res.Items = slices.DeleteFunc(res.Items, func(it backend.ListItem) bool { return it.Entry != nil && len(it.Entry.Value) == 0 })
		})
	}},
	{name: "List is cached", caught: []string{"a folder goes with its last key", "a walk shows what changes ahead of it", "a page begins after a name that has since gone", "the index of a List covers puts and deletes under the prefix"}, breaks: func(h *hooks) {
		var cache sync.Map
		h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
			if q.Limit > 0 { // as if pages were cut from a listing kept since the first
				all := q
				all.Limit, all.After = 0, ""
				res, err := h.Backend.List(ctx, all)
				if err != nil {
					return nil, err
				}
				kept, _ := cache.LoadOrStore(all, res)
				return cut(*kept.(*backend.ListResult), q), nil
			}
			res, err := h.Backend.List(ctx, q)
			if err != nil {
				return nil, err
			}
			q.After = ""
			kept, _ := cache.LoadOrStore(q, res)
			return kept.(*backend.ListResult), nil
		}
	}},
	{name: "List is cut to 1,000", caught: []string{"List has 2,500 keys", "a walk of many pages is not disturbed by deletes elsewhere", "a walk shows what changes ahead of it"}, breaks: func(h *hooks) {
		h.result(func(_ backend.ListQuery, res *backend.ListResult) {
			res.Items, res.More = res.Items[:min(len(res.Items), 1000)], false
		})
	}},
	{name: "List is backwards", caught: []string{"List is sorted by bytes", "Keys, Values and Items yield everything in order", "a walk may end early"}, breaks: func(h *hooks) {
		h.result(func(_ backend.ListQuery, res *backend.ListResult) { slices.Reverse(res.Items) })
	}},
	{name: "List is sorted by UTF-16 units", caught: []string{"List is sorted by bytes"}, breaks: func(h *hooks) {
		h.result(func(_ backend.ListQuery, res *backend.ListResult) {
			units := func(s string) string { return strings.ReplaceAll(s, "\U0001f511", "\xed\xa0\xbd") }
			slices.SortFunc(res.Items, func(a, b backend.ListItem) int { return strings.Compare(units(a.Name), units(b.Name)) })
		})
	}},
	{name: "List takes a prefix for a folder", caught: []string{"List keeps to the prefix", "a prefix that is a key lists that key"}, breaks: func(h *hooks) {
		h.query(func(q *backend.ListQuery) { q.Prefix = strings.TrimSuffix(q.Prefix, "/") + "/" })
	}},
	{name: "List of nothing has the prefix", caught: []string{"List of nothing is empty"}, breaks: func(h *hooks) {
		h.result(func(q backend.ListQuery, res *backend.ListResult) {
			if len(res.Items) == 0 {
				res.Items = []backend.ListItem{{Name: q.Prefix, Folded: true}}
			}
		})
	}},
	{name: "List with an empty prefix is empty", caught: []string{"List with an empty prefix has all keys"}, breaks: func(h *hooks) {
		h.result(func(q backend.ListQuery, res *backend.ListResult) {
			if q.Prefix == "" {
				res.Items = nil
			}
		})
	}},
	{name: "List folds at the slash always", caught: []string{"List folds at the first separator after the prefix"}, breaks: func(h *hooks) {
		h.query(func(q *backend.ListQuery) {
			if q.Separator != "" {
				q.Separator = "/"
			}
		})
	}},
	{name: "List does not mark what is folded", caught: []string{"List folds at the first separator after the prefix", "random changes agree with a map"}, breaks: func(h *hooks) {
		h.result(func(_ backend.ListQuery, res *backend.ListResult) {
			for i := range res.Items {
				res.Items[i].Folded = false
			}
		})
	}},
	{name: "List begins at a name, not after it", caught: []string{"List begins strictly after a name", "the pages of a List are the whole"}, breaks: func(h *hooks) {
		h.query(func(q *backend.ListQuery) {
			if q.After != "" { // the greatest string below it, nearly
				q.After = q.After[:len(q.After)-1] + string(q.After[len(q.After)-1]-1) + "~~~"
			}
		})
	}},
	{name: "List compares After with keys", caught: []string{"List begins strictly after a name", "the pages of a List are the whole"}, breaks: func(h *hooks) {
		h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
			all := q
			all.After, all.Limit = "", 0
			res, err := h.Backend.List(ctx, all)
			if err != nil {
				return nil, err
			}
			folders := q // a folder of the After shows again
			folders.Limit = 0
			rest, err := h.Backend.List(ctx, folders)
			if err != nil {
				return nil, err
			}
			for _, it := range res.Items {
				if it.Folded && q.After != "" && strings.HasPrefix(q.After, it.Name) {
					rest.Items = slices.Insert(rest.Items, 0, it)
				}
			}
			return cut(*rest, backend.ListQuery{Limit: q.Limit}), nil
		}
	}},
	{name: "List after a name that is not there is empty", caught: []string{"a page begins after a name that has since gone"}, breaks: func(h *hooks) {
		h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
			all := q
			all.After, all.Limit = "", 0
			res, err := h.Backend.List(ctx, all)
			if err == nil && q.After != "" && !slices.Contains(res.Names(), q.After) {
				return &backend.ListResult{}, nil
			}
			return h.Backend.List(ctx, q)
		}
	}},
	{name: "List never has more", caught: []string{"More tells that the limit cut a List short", "the pages of a List are the whole"}, breaks: func(h *hooks) {
		h.result(func(_ backend.ListQuery, res *backend.ListResult) { res.More = false })
	}},
	{name: "List has more when the page is full", caught: []string{"More tells that the limit cut a List short"}, breaks: func(h *hooks) {
		h.result(func(q backend.ListQuery, res *backend.ListResult) { res.More = len(res.Items) == q.Limit })
	}},
	{name: "List ignores the limit", caught: []string{"More tells that the limit cut a List short", "the pages of a List are the whole"}, breaks: func(h *hooks) {
		h.query(func(q *backend.ListQuery) { q.Limit = 0 })
	}},
	{name: "List gives values and nothing else", caught: []string{"List gives whole entries when values are asked for"}, breaks: func(h *hooks) {
		h.result(func(_ backend.ListQuery, res *backend.ListResult) {
			for i, it := range res.Items {
				if it.Entry != nil {
					res.Items[i].Entry = &backend.Entry{Key: it.Name, Value: it.Entry.Value}
				}
			}
		})
	}},
	{name: "List gives values unasked", caught: []string{"List gives whole entries when values are asked for"}, breaks: func(h *hooks) {
		h.query(func(q *backend.ListQuery) { q.Values = true })
	}},
	{name: "List's index forgets deletes", caught: []string{"the index of a List covers puts and deletes under the prefix"}, breaks: func(h *hooks) {
		h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
			whole := q
			whole.Values, whole.Separator = true, ""
			res, err := h.Backend.List(ctx, whole)
			if err != nil {
				return nil, err
			}
			var newest uint64
			for _, it := range res.Items {
				newest = max(newest, it.Entry.ModifyIndex)
			}
			res, err = h.Backend.List(ctx, q)
			if err == nil {
				res.Index = newest
			}
			return res, err
		}
	}},
	{name: "List reads its values one by one", caught: []string{"a List is one snapshot"}, breaks: func(h *hooks) {
		var w window
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			defer w.events.Add(1)
			return h.Backend.Put(ctx, key, value, opts)
		}
		h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
			res, err := h.Backend.List(ctx, q)
			if err != nil {
				return nil, err
			}
			for i, it := range res.Items {
				w.linger(4)
				if res.Items[i].Entry, err = h.Backend.Get(ctx, it.Name, backend.GetOptions{}); err != nil {
					return nil, err
				}
			}
			return res, nil
		}
	}},
	{name: "List does not check its query", caught: []string{"prefixes that begin no key are invalid", "a List query may not outgrow the keys"}, breaks: func(h *hooks) {
		h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
			if h.Limits().CheckList(q) != nil {
				return &backend.ListResult{}, nil
			}
			return h.Backend.List(ctx, q)
		}
	}},
}

// cut takes q's page out of a whole listing.
func cut(res backend.ListResult, q backend.ListQuery) *backend.ListResult {
	from := 0
	for q.After != "" && from < len(res.Items) && res.Items[from].Name <= q.After {
		from++
	}
	res.Items = res.Items[from:]
	if q.Limit > 0 && len(res.Items) > q.Limit {
		res.Items, res.More = res.Items[:q.Limit], true
	}
	return &res
}

var endFaults = []fault{
	{name: "contexts are ignored", caught: []string{"a call whose deadline has passed changes nothing", "a call whose context was cancelled changes nothing", "a walk ends with one error"}, breaks: func(h *hooks) {
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			return h.Backend.Put(context.WithoutCancel(ctx), key, value, opts)
		}
		h.list = func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
			return h.Backend.List(context.WithoutCancel(ctx), q)
		}
	}},
	{name: "Delete reports the deadline and works all the same", caught: []string{"a call whose deadline has passed changes nothing", "a call whose context was cancelled changes nothing"}, breaks: func(h *hooks) {
		h.delete = func(ctx context.Context, key string, opts backend.DeleteOptions) error {
			_ = h.Backend.Delete(context.WithoutCancel(ctx), key, opts)
			return h.Backend.Delete(ctx, key, opts)
		}
	}},
	{name: "Close does nothing", caught: []string{"after Close every call fails with Closed", "Close ends calls that are under way"}, breaks: func(h *hooks) {
		h.close = func() error { return nil }
	}},
	{name: "closing twice is an error", caught: []string{"after Close every call fails with Closed"}, breaks: func(h *hooks) {
		closed := false
		h.close = func() error {
			if closed {
				return backend.Errorf(backend.Closed, "", "closed already")
			}
			closed = true
			return h.Backend.Close()
		}
	}},
	{name: "after Close a Get finds nothing", caught: []string{"after Close every call fails with Closed"}, breaks: func(h *hooks) {
		h.get = func(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
			e, err := h.Backend.Get(ctx, key, opts)
			if backend.CodeOf(err) == backend.Closed {
				return nil, nil
			}
			return e, err
		}
	}},
}

package backendtest

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/chord-plugin/chord-plugin/backend"
)

var watchFaults = []fault{
	{name: "Watch waits for the next change", waits: true, caught: []string{"Watch tells the index at once when another one is asked for", "a change between two calls of Watch is not missed"}, breaks: func(h *hooks) {
		h.watch = func(ctx context.Context, q backend.WatchQuery) (uint64, error) {
			now, err := h.state(ctx, q)
			if err != nil || q.After == 0 {
				return now, err
			}
			q.After = now
			return h.Backend.Watch(ctx, q)
		}
	}},
	{name: "Watch waits for an index from the future", waits: true, caught: []string{"Watch tells the index at once when another one is asked for"}, breaks: func(h *hooks) {
		h.watch = func(ctx context.Context, q backend.WatchQuery) (uint64, error) {
			for after := q.After; ; {
				index, err := h.Backend.Watch(ctx, q)
				if err != nil || index > after {
					return index, err
				}
				q.After = index
			}
		}
	}},
	{name: "Watch never waits", caught: []string{"a Watch with nothing to see waits", "the index of a List is one to Watch from"}, breaks: func(h *hooks) { h.watch = h.state }},
	{name: "what is not there has index 0", caught: []string{"what is not there has an index of at least 1"}, breaks: func(h *hooks) {
		h.watch = func(ctx context.Context, q backend.WatchQuery) (uint64, error) {
			index, err := h.Backend.Watch(ctx, q)
			if index == 1 {
				index = 0
			}
			return index, err
		}
	}},
	{name: "Watch does not notice that a key goes", waits: true, caught: []string{"Watch on a key waits for each kind of change", "a change between two calls of Watch is not missed", "Watch wakes when a key expires"}, breaks: func(h *hooks) {
		h.swallows(func(ctx context.Context, q backend.WatchQuery, _ uint64) bool {
			e, err := h.Backend.Get(ctx, q.Key, backend.GetOptions{})
			return q.Key != "" && e == nil && err == nil
		})
	}},
	{name: "Watch on a prefix sees live keys only", waits: true, caught: []string{"Watch on a prefix wakes for every key under it"}, breaks: func(h *hooks) {
		h.swallows(func(ctx context.Context, q backend.WatchQuery, index uint64) bool {
			res, err := h.Backend.List(ctx, backend.ListQuery{Prefix: q.Prefix, Values: true})
			if q.Key != "" || err != nil {
				return false
			}
			for _, it := range res.Items {
				if it.Entry.ModifyIndex == index {
					return false
				}
			}
			return true
		})
	}},
	{name: "one wake-up in fifty is lost", waits: true, caught: []string{"no wake-up is lost among random changes"}, breaks: func(h *hooks) {
		var n atomic.Uint64
		h.swallows(func(context.Context, backend.WatchQuery, uint64) bool { return n.Add(1)%50 == 0 })
	}},
	{name: "one of those who watch a key is woken", waits: true, caught: []string{"all who watch one key are woken"}, breaks: func(h *hooks) {
		var mu sync.Mutex
		waiting := map[backend.WatchQuery]bool{}
		h.watch = func(ctx context.Context, q backend.WatchQuery) (uint64, error) {
			mu.Lock()
			first := !waiting[q]
			waiting[q] = true
			mu.Unlock()
			if !first {
				<-ctx.Done()
			}
			return h.Backend.Watch(ctx, q)
		}
	}},
	{name: "the end of its context is no error for Watch", caught: []string{"Watch ends with its context"}, breaks: func(h *hooks) {
		h.watch = func(ctx context.Context, q backend.WatchQuery) (uint64, error) {
			index, err := h.Backend.Watch(ctx, q)
			if ctx.Err() != nil {
				return q.After, nil
			}
			return index, err
		}
	}},
	{name: "Watch does not check its query", caught: []string{"a Watch is for a key or a prefix that can be"}, breaks: func(h *hooks) {
		h.watch = func(ctx context.Context, q backend.WatchQuery) (uint64, error) {
			index, err := h.Backend.Watch(ctx, q)
			return max(index, 1), ignore(err, backend.Invalid)
		}
	}},
	{name: "the index of a List is not that of Watch", caught: []string{"the index of a List is one to Watch from"}, breaks: func(h *hooks) {
		h.result(func(_ backend.ListQuery, res *backend.ListResult) { res.Index++ })
	}},
	{name: "transactions and sessions wake nobody", waits: true, caught: []string{"Watch wakes for each key of a transaction", "Watch wakes when a key is locked and released"}, breaks: func(h *hooks) {
		// What they changed is no newer than muted.
		var muted atomic.Uint64
		mute := func(ctx context.Context) {
			if index, err := h.state(ctx, backend.WatchQuery{}); err == nil {
				muted.Store(index)
			}
		}
		h.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
			muted.Store(1<<53 - 1)
			defer mute(ctx)
			return h.Backend.Txn(ctx, ops)
		}
		h.swallows(func(_ context.Context, q backend.WatchQuery, index uint64) bool {
			return q.After != 0 && index <= muted.Load()
		})
	}},
}

// state returns the index of what q watches.
func (h *hooks) state(ctx context.Context, q backend.WatchQuery) (uint64, error) {
	q.After = 0
	return h.Backend.Watch(ctx, q)
}

// swallows makes Watch wait on where it should return and lost says so.
func (h *hooks) swallows(lost func(ctx context.Context, q backend.WatchQuery, index uint64) bool) {
	h.watch = func(ctx context.Context, q backend.WatchQuery) (uint64, error) {
		for {
			index, err := h.Backend.Watch(ctx, q)
			if err != nil || q.After == 0 || !lost(ctx, q, index) {
				return index, err
			}
			q.After = index
		}
	}
}

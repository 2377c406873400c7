package backendtest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/chord-plugin/chord-plugin/backend"
)

var expireFaults = []fault{
	{name: "lifetimes are not shown", caught: []string{"a key shows its lifetime", "what a transaction writes can expire"}, breaks: func(h *hooks) {
		h.entry(func(_ string, e *backend.Entry) *backend.Entry {
			if e != nil {
				e.ExpiresAfter = 0
			}
			return e
		})
	}},
	{name: "a lifetime may be anything", caught: []string{"a lifetime has limits"}, breaks: func(h *hooks) {
		h.puts(func(_ string, opts *backend.PutOptions) {
			if opts.ExpiresAfter != 0 {
				opts.ExpiresAfter = min(max(opts.ExpiresAfter, backend.MinTTL), backend.MaxTTL)
			}
		})
	}},
	{name: "keys never expire", waits: true, caught: []string{"a key disappears for all readers at once", "every write sets the lifetime anew", "Watch wakes when a key expires"}, breaks: func(h *hooks) {
		h.puts(func(_ string, opts *backend.PutOptions) { opts.ExpiresAfter = 0 })
	}},
	{name: "a write keeps the lifetime", caught: []string{"a key shows its lifetime", "every write sets the lifetime anew"}, breaks: func(h *hooks) {
		h.puts(func(key string, opts *backend.PutOptions) {
			if e, err := h.Backend.Get(context.Background(), key, backend.GetOptions{}); err == nil && e != nil && opts.ExpiresAfter == 0 {
				opts.ExpiresAfter = e.ExpiresAfter
			}
		})
	}},
	{name: "one reader in three sees a key that has expired", caught: []string{"a key disappears for all readers at once"}, breaks: func(h *hooks) {
		var kept sync.Map
		var n atomic.Uint64
		h.entry(func(key string, e *backend.Entry) *backend.Entry {
			if e != nil {
				kept.Store(key, e)
			} else if was, ok := kept.Load(key); ok && n.Add(1)%3 == 0 {
				e = was.(*backend.Entry)
			}
			return e
		})
	}},
	{name: "Unlock makes the key live for ever", caught: []string{"Unlock leaves the lifetime that the key was given"}, breaks: func(h *hooks) {
		h.handle(func(l *lockHooks) {
			l.unlock = func(ctx context.Context) error {
				e, err := h.Backend.Get(ctx, l.Key(), backend.GetOptions{})
				if err != nil || e == nil || e.Session != l.Session() {
					return errors.Join(err, l.Lock.Unlock(ctx))
				}
				_, err = h.Backend.Put(ctx, l.Key(), e.Value, backend.PutOptions{Flags: e.Flags})
				return errors.Join(err, l.Lock.Unlock(ctx))
			}
		})
	}},
	{name: "what a transaction writes stays", caught: []string{"what a transaction writes can expire"}, breaks: func(h *hooks) {
		h.op(func(op *backend.TxnOp) { op.ExpiresAfter = 0 })
	}},
	{name: "contexts are ignored beyond Backend", caught: []string{"with a context that is done no transaction, session, lock, fence or watch works"}, breaks: func(h *hooks) {
		h.txn = func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
			return h.Backend.Txn(context.WithoutCancel(ctx), ops)
		}
	}},
	{name: "Close does not end what waits", waits: true, caught: []string{"Close ends calls of Watch and Lock", "after Close no transaction, session, lock, fence or watch works"}, breaks: func(h *hooks) {
		h.close = func() error { return nil }
	}},
}

// puts changes the options of Put.
func (h *hooks) puts(change func(key string, opts *backend.PutOptions)) {
	h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
		change(key, &opts)
		return h.Backend.Put(ctx, key, value, opts)
	}
}

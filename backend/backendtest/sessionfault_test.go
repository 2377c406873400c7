package backendtest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/chord-plugin/chord-plugin/backend"
)

var sessionFaults = []fault{
	{name: "a session shows no lock delay", caught: []string{"a session is what was asked for"}, breaks: func(h *hooks) {
		h.made(func(_ *backend.SessionOptions) {}, func(_ backend.SessionOptions, s *backend.Session) { s.LockDelay = 0 })
	}},
	{name: "what a session can not be is left out", caught: []string{"a session can not be what the contract forbids"}, breaks: func(h *hooks) {
		h.made(func(opts *backend.SessionOptions) {
			if backend.CheckSession(*opts) != nil {
				*opts = backend.SessionOptions{}
			}
		}, nil)
	}},
	{name: "Sessions is in no order", caught: []string{"Sessions lists all sessions by ID"}, breaks: func(h *hooks) {
		h.all = func(ctx context.Context) ([]*backend.Session, error) {
			all, err := h.Backend.Sessions(ctx)
			slices.Reverse(all)
			return all, err
		}
	}},
	{name: "a session that has ended can be renewed", caught: []string{"a session that never was is not there", "a session that was destroyed does not come back", "a session lives for its TTL, and nothing brings it back"}, breaks: func(h *hooks) {
		h.renew = func(ctx context.Context, id string) (*backend.Session, error) {
			s, err := h.Backend.RenewSession(ctx, id)
			if backend.CodeOf(err) == backend.SessionInvalid {
				return &backend.Session{ID: id}, nil
			}
			return s, err
		}
	}},
	{name: "what a session returns is shared", caught: []string{"what a session returns is the caller's"}, breaks: func(h *hooks) {
		var kept sync.Map
		h.session = func(ctx context.Context, id string) (*backend.Session, error) {
			s, err := h.Backend.Session(ctx, id)
			if s != nil {
				kept.Store(id, s)
			}
			return s, err
		}
		h.renew = func(ctx context.Context, id string) (*backend.Session, error) {
			s, err := h.Backend.RenewSession(ctx, id)
			if was, ok := kept.Load(id); ok {
				s = was.(*backend.Session)
			}
			return s, err
		}
	}},
	{name: "sessions never expire", waits: true, caught: []string{
		"a session lives for its TTL, and nothing brings it back", "a session that is renewed lives on", "a session ends for all at once", "the expiry of a session releases or deletes what it holds",
		"a lock whose session expires is lost before another holds it", "a lock with a session is held as long as that is renewed",
	}, breaks: func(h *hooks) {
		h.made(func(opts *backend.SessionOptions) { opts.TTL = 0 }, nil)
	}},
	{name: "every session expires", caught: []string{"a session without TTL ends only when it is destroyed"}, breaks: func(h *hooks) {
		h.made(func(opts *backend.SessionOptions) { opts.TTL = max(opts.TTL, backend.MinTTL) }, nil)
	}},
	{name: "a renewal does not renew", caught: []string{"a session that is renewed lives on", "a lock with a session is held as long as that is renewed"}, breaks: func(h *hooks) {
		h.renew = func(ctx context.Context, id string) (*backend.Session, error) {
			s, err := h.Backend.Session(ctx, id)
			if s == nil && err == nil {
				err = backend.Errorf(backend.SessionInvalid, "", "gone")
			}
			return s, err
		}
	}},
	{name: "one reader in three sees a session that has ended", caught: []string{"a session ends for all at once"}, breaks: func(h *hooks) {
		var kept sync.Map
		var n atomic.Uint64
		h.session = func(ctx context.Context, id string) (*backend.Session, error) {
			s, err := h.Backend.Session(ctx, id)
			if s != nil {
				kept.Store(id, s)
			} else if was, ok := kept.Load(id); ok && n.Add(1)%3 == 0 {
				s = was.(*backend.Session)
			}
			return s, err
		}
	}},
	{name: "every session releases", caught: []string{"the end of a session releases or deletes what it holds", "the expiry of a session releases or deletes what it holds"}, waits: true, breaks: func(h *hooks) {
		h.made(func(opts *backend.SessionOptions) { opts.Behavior = backend.BehaviorRelease }, nil)
	}},
	{name: "every session has a lock delay", caught: []string{"without a lock delay a key is free when its session has ended"}, breaks: func(h *hooks) {
		h.made(func(opts *backend.SessionOptions) { opts.LockDelay = backend.MaxLockDelay }, nil)
	}},
	{name: "no session has a lock delay", caught: []string{"a lock delay keeps a key free for a while", "within the lock delay Lost is closed before another holds the lock"}, breaks: func(h *hooks) {
		h.made(func(opts *backend.SessionOptions) { opts.LockDelay = backend.NoLockDelay }, nil)
		h.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
			opts.Own.LockDelay = backend.NoLockDelay
			return h.Backend.Lock(ctx, opts)
		}
	}},
	{name: "locking does not look who holds the key", caught: []string{"a key has one holder"}, breaks: func(h *hooks) {
		h.op(func(op *backend.TxnOp) {
			if e, err := h.Backend.Get(context.Background(), op.Key, backend.GetOptions{}); op.Verb == backend.VerbLock && err == nil && e != nil && e.Session != "" {
				op.Session = e.Session
			}
		})
	}},
	{name: "any session can lock", caught: []string{"only a live session can hold a key"}, breaks: func(h *hooks) {
		h.op(func(op *backend.TxnOp) {
			s, err := h.Backend.Session(context.Background(), op.Session)
			if op.Verb == backend.VerbLock && s == nil && err == nil {
				if s, err = h.Backend.CreateSession(context.Background(), backend.SessionOptions{}); err == nil {
					op.Session = s.ID
				}
			}
		})
	}},
	{name: "holders are not counted", caught: []string{"the lock verb makes a session the holder", "the unlock verb frees the key and stores its value", "one at a time holds a lock, and tokens grow"}, breaks: func(h *hooks) {
		h.entry(func(_ string, e *backend.Entry) *backend.Entry {
			if e != nil {
				e.LockIndex = 0
			}
			return e
		})
	}},
	{name: "unlock leaves the old value", caught: []string{"the unlock verb frees the key and stores its value"}, breaks: func(h *hooks) {
		h.op(func(op *backend.TxnOp) {
			if e, err := h.Backend.Get(context.Background(), op.Key, backend.GetOptions{}); op.Verb == backend.VerbUnlock && err == nil && e != nil {
				op.Value = e.Value
			}
		})
	}},
	{name: "Put frees the lock", caught: []string{"plain writes keep the holder", "Lost is closed when somebody else ends the lock"}, breaks: func(h *hooks) {
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			if err := h.Backend.Delete(ctx, key, backend.DeleteOptions{If: opts.If}); err != nil {
				return 0, err
			}
			return h.Backend.Put(ctx, key, value, backend.PutOptions{})
		}
	}},
	{name: "the token is the number of the holder", caught: []string{"a deleted key has no holder", "the lock verb makes a session the holder", "Lock takes a key that is free"}, breaks: func(h *hooks) {
		h.entry(func(_ string, e *backend.Entry) *backend.Entry {
			if e != nil && e.Session != "" {
				e.LockToken = e.LockIndex
			}
			return e
		})
	}},
	{name: "the end of a session releases 1,000 locks", caught: []string{"a session that holds 5,000 locks can be destroyed"}, breaks: func(h *hooks) {
		stuck := map[string]string{}
		h.destroy = func(ctx context.Context, id string) error {
			res, err := h.Backend.List(ctx, backend.ListQuery{Values: true})
			if err != nil {
				return err
			}
			for i, it := range res.Items {
				if i >= 1000 && it.Entry.Session == id {
					stuck[it.Name] = id
				}
			}
			return h.Backend.DestroySession(ctx, id)
		}
		h.result(func(_ backend.ListQuery, res *backend.ListResult) {
			for _, it := range res.Items {
				if id := stuck[it.Name]; it.Entry != nil && id != "" {
					it.Entry.Session = id
				}
			}
		})
	}},
}

// made changes what CreateSession is asked, which it does not show, and what it
// returns.
func (h *hooks) made(ask func(opts *backend.SessionOptions), show func(asked backend.SessionOptions, s *backend.Session)) {
	h.create = func(ctx context.Context, opts backend.SessionOptions) (*backend.Session, error) {
		asked := opts
		ask(&opts)
		s, err := h.Backend.CreateSession(ctx, opts)
		if err == nil && show != nil {
			show(asked, s)
		}
		return s, err
	}
}

package backendtest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

var lockFaults = []fault{
	{name: "Lock does not store its value", caught: []string{"Lock takes a key that is free", "Lock with a session leaves the session"}, breaks: func(h *hooks) {
		h.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
			opts.Value = nil
			return h.Backend.Lock(ctx, opts)
		}
	}},
	{name: "all sessions of locks are alike", caught: []string{"Lock makes the session that was asked for"}, breaks: func(h *hooks) {
		h.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
			opts.Own = backend.SessionOptions{}
			return h.Backend.Lock(ctx, opts)
		}
	}},
	{name: "Unlock ends every session", caught: []string{"Lock with a session leaves the session"}, breaks: func(h *hooks) {
		h.handle(func(l *lockHooks) {
			l.unlock = func(ctx context.Context) error {
				if err := l.Lock.Unlock(ctx); err != nil {
					return err
				}
				return h.Backend.DestroySession(ctx, l.Session())
			}
		})
	}},
	{name: "Lost is never closed", waits: true, caught: []string{
		"Lost is closed by Unlock, which works once", "Lost is closed when somebody else ends the lock", "a lock whose session expires is lost before another holds it",
		"within the lock delay Lost is closed before another holds the lock", "a lock with a session is held as long as that is renewed", "a fence outlives the key of its lock",
		"after Close no transaction, session, lock, fence or watch works",
	}, breaks: func(h *hooks) {
		h.handle(func(l *lockHooks) { l.lost = make(chan struct{}) })
	}},
	{name: "Lost is closed too late", waits: true, caught: []string{"a lock whose session expires is lost before another holds it"}, breaks: func(h *hooks) {
		h.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
			l, err := h.Backend.Lock(ctx, opts)
			if err != nil {
				return nil, err
			}
			late := make(chan struct{})
			go func() {
				defer close(late)
				select {
				case <-l.Lost():
				case <-ctx.Done():
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}()
			return &lockHooks{Lock: l, lost: late}, nil
		}
	}},
	{name: "Unlock works over and over", caught: []string{"Lost is closed by Unlock, which works once", "Lost is closed when somebody else ends the lock"}, breaks: func(h *hooks) {
		h.handle(func(l *lockHooks) {
			l.unlock = func(ctx context.Context) error { return ignore(l.Lock.Unlock(ctx), backend.LockLost) }
		})
	}},
	{name: "Lock does not wait", caught: []string{"Lock waits until the key is free", "one at a time holds a lock, and tokens grow", "Lock fails when its session ends while it waits", "Close ends calls of Watch and Lock"}, breaks: func(h *hooks) {
		var w window
		h.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
			defer w.enter()
			if _, held, err := backend.LockValue(ctx, h.Backend, opts.Key); err == nil && held {
				return fakeLock{key: opts.Key}, nil
			}
			return h.Backend.Lock(ctx, opts)
		}
	}},
	{name: "nobody cares for the session of a lock", waits: true, caught: []string{"Lock ends with its context and leaves nothing", "Lock keeps a session of its own alive", "Lock takes a key that is free"}, breaks: func(h *hooks) {
		h.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
			if opts.Session == "" {
				if opts.Own.TTL == 0 {
					opts.Own.TTL = backend.DefaultLockTTL
				}
				s, err := h.Backend.CreateSession(ctx, opts.Own)
				if err != nil {
					return nil, err
				}
				opts.Session, opts.Own = s.ID, backend.SessionOptions{}
			}
			return h.Backend.Lock(ctx, opts)
		}
	}},
	{name: "a lock ends with the context of Lock", caught: []string{"a lock outlives the context under which it was taken"}, breaks: func(h *hooks) {
		h.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
			l, err := h.Backend.Lock(ctx, opts)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = l.Unlock(context.WithoutCancel(ctx)) })
			}
			return l, err
		}
	}},
	{name: "Lock waits though its session has ended", waits: true, caught: []string{"Lock fails when its session ends while it waits"}, breaks: func(h *hooks) {
		h.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
			l, err := h.Backend.Lock(ctx, opts)
			if backend.CodeOf(err) == backend.SessionInvalid {
				<-ctx.Done()
			}
			return l, err
		}
	}},
	{name: "Lock refuses nothing", caught: []string{"Lock refuses what can not be"}, breaks: func(h *hooks) {
		h.lock = func(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
			if h.Limits().CheckLock(opts) != nil {
				return fakeLock{key: opts.Key}, nil
			}
			return h.Backend.Lock(ctx, opts)
		}
	}},
}

var fenceFaults = []fault{
	{name: "Fence does nothing", caught: []string{
		"a write with an outdated fence changes nothing", "a transaction begun under an older fence can not commit", "writes without a fence, or with one of another lock, are not concerned",
		"a fence outlives the key of its lock", "no write of an old holder happens once Fence has returned", "only the present holder can fence",
	}, breaks: func(h *hooks) {
		h.fence = func(context.Context, backend.Fence) error { return nil }
	}},
	{name: "a fence keeps everybody out who has a token", caught: []string{"the holder of a lock writes with its fence", "a write with an outdated fence changes nothing"}, breaks: func(h *hooks) {
		h.fenced(func(key string, f backend.Fence) (backend.Fence, error) {
			if f.Token != 0 && h.Limits().CheckFence(key, f) == nil {
				return f, backend.Errorf(backend.Fenced, key, "fenced")
			}
			return f, nil
		})
	}},
	{name: "a fence keeps everybody out", caught: []string{"writes without a fence, or with one of another lock, are not concerned"}, breaks: func(h *hooks) {
		var up atomic.Bool
		h.fence = func(ctx context.Context, f backend.Fence) error {
			up.Store(true)
			return h.Backend.Fence(ctx, f)
		}
		h.fenced(func(key string, f backend.Fence) (backend.Fence, error) {
			if up.Load() && f == (backend.Fence{}) {
				return f, backend.Errorf(backend.Fenced, key, "fenced")
			}
			return f, nil
		})
	}},
	{name: "anybody can fence", caught: []string{"only the present holder can fence"}, breaks: func(h *hooks) {
		h.fence = func(ctx context.Context, f backend.Fence) error {
			return ignore(h.Backend.Fence(ctx, f), backend.LockLost)
		}
	}},
	{name: "a fence goes with the key of its lock", caught: []string{"a fence outlives the key of its lock"}, breaks: func(h *hooks) {
		var gone atomic.Bool
		h.delete = func(ctx context.Context, key string, opts backend.DeleteOptions) error {
			gone.Store(true)
			return h.Backend.Delete(ctx, key, opts)
		}
		h.fenced(func(_ string, f backend.Fence) (backend.Fence, error) {
			if gone.Load() {
				return backend.Fence{}, nil
			}
			return f, nil
		})
	}},
	{name: "a fence that can be none is no fence", caught: []string{"a fence that can be none is invalid"}, breaks: func(h *hooks) {
		h.fenced(func(key string, f backend.Fence) (backend.Fence, error) {
			if h.Limits().CheckFence(key, f) != nil {
				return backend.Fence{}, nil
			}
			return f, nil
		})
	}},
}

// fenced changes the fence that a Put carries, or refuses it.
func (h *hooks) fenced(change func(key string, f backend.Fence) (backend.Fence, error)) {
	h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (_ uint64, err error) {
		if opts.Fence, err = change(key, opts.Fence); err != nil {
			return 0, err
		}
		return h.Backend.Put(ctx, key, value, opts)
	}
}

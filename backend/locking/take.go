package locking

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// lookAgain is how long a call waits for news of a key before it tries to lock it
// all the same: the end of a lock delay, or that of its own session elsewhere, is no
// change of the key. Up to half of it is left out at random.
const lookAgain = 10 * time.Second

// Lock waits until the key is free and takes it; see backend.Locker.
func (k *Keeper) Lock(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
	if err := k.store.Limits().CheckLock(opts); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, backend.Errorf(backend.NoQuorum, opts.Key, "the call was over before it began and changed nothing: %w", err)
	}
	if err := k.enter(opts.Key); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(k.ctx, cancel)()

	own := opts.Session == ""
	s, err := k.begin(ctx, opts)
	if err != nil {
		k.mu.Lock()
		k.locks--
		k.mu.Unlock()
		if ctx.Err() != nil || backend.CodeOf(err) == backend.UnknownOutcome {
			return nil, k.untaken(ctx, opts.Key, false, err)
		}
		return nil, about(opts.Key, err)
	}
	w := &waiter{k: k, s: s, key: opts.Key, own: own, pause: newPause(k.clock), free: noIndex}
	defer w.end()
	l, err := w.take(ctx, backend.TxnOp{Verb: backend.VerbLock, Key: opts.Key, Value: opts.Value, Session: s.id})
	if err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.leave(s, own)
		return nil, err
	}
	return l, nil
}

// untaken returns the error of a call of Lock that ended without the lock, for which
// last is a reason. doubt tells that the session may hold the key for all that.
func (k *Keeper) untaken(ctx context.Context, key string, doubt bool, last error) error {
	switch last = because(ctx, last); {
	case doubt:
		return backend.Errorf(backend.UnknownOutcome, key, "the session may hold the lock or get it yet; lock again or destroy the session: %w", last)
	case k.ctx.Err() != nil:
		return closed(key)
	}
	return backend.Errorf(backend.NoQuorum, key, "the lock was not taken: %w", last)
}

// because returns why a call under ctx that tries again and again ends with last.
func because(ctx context.Context, last error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w; the last attempt: %v", ctx.Err(), last)
	}
	return last
}

// about returns err as one about key, not about an operation of a transaction.
func about(key string, err error) error {
	var e *backend.Error
	if !errors.As(err, &e) {
		return err
	}
	return &backend.Error{Code: e.Code, Key: key, Message: e.Message, Answered: e.Answered, Owners: e.Owners, Cause: err}
}

// noIndex is the index of no state of a key.
const noIndex = ^uint64(0)

// A waiter is a call of Lock.
type waiter struct {
	k     *Keeper
	s     *session
	key   string
	own   bool
	pause *pause
	// turn is held by the one that watches the key.
	turn *turn
	mine bool
	// free is the index at which the key was free when it was last looked at.
	free uint64
}

// take tries until the lock is taken.
func (w *waiter) take(ctx context.Context, op backend.TxnOp) (*lock, error) {
	doubt := false // an attempt may have succeeded
	for again := false; ; again = true {
		w.pause.start()
		l, err := w.try(ctx, op, again)
		switch code := backend.CodeOf(err); {
		case err == nil:
			return l, nil
		case code == backend.SessionInvalid:
			return nil, about(w.key, err)
		case code == backend.UnknownOutcome:
			doubt = true
		case code == backend.Conflict:
			doubt = false
		}
		switch code := backend.CodeOf(err); {
		case ctx.Err() != nil, w.k.ctx.Err() != nil:
			return nil, w.k.untaken(ctx, w.key, doubt && !w.own, err)
		case w.k.ended(w.s):
			return nil, backend.Errorf(backend.SessionInvalid, w.key, "the session %q has ended; create a new one", w.s.id)
		case code == backend.Conflict:
			w.wait(ctx)
		case code == backend.UnknownOutcome, code == backend.NoQuorum, code == backend.NotReady, code == backend.TxnConflict:
			// Locking twice is as good as once: the next attempt finds out.
			w.pause.wait(ctx)
		case doubt && !w.own:
			return nil, w.k.untaken(ctx, w.key, doubt, err)
		default:
			return nil, about(w.key, err)
		}
	}
}

// try tries to take the lock. The session is renewed with it if that is not just
// done.
func (w *waiter) try(ctx context.Context, op backend.TxnOp, renew bool) (*lock, error) {
	res, err := w.k.store.Txn(ctx, []backend.TxnOp{op})
	if backend.CodeOf(err) == backend.SessionInvalid {
		w.k.mu.Lock()
		w.k.over(w.s)
		w.k.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	if res == nil || len(res.Results) != 1 || res.Results[0].Entry == nil {
		return nil, backend.Errorf(backend.Internal, w.key, "the store does not say how it left the key that it locked")
	}
	if renew && w.s.ttl > 0 {
		if _, err = w.k.RenewSession(ctx, w.s.id); backend.CodeOf(err) == backend.SessionInvalid {
			return nil, err
		}
	}
	if l := w.k.hold(w, res.Results[0].Entry); l != nil {
		return l, nil
	}
	return nil, backend.Errorf(backend.UnknownOutcome, w.key, "the key was locked so long ago that the session may have ended since, and the renewal says: %v", err)
}

// wait waits until the key can perhaps be locked. Of those that wait here for the
// same key, one at a time watches it.
func (w *waiter) wait(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.s.ctx, cancel)()
	stop := w.k.clock.AfterFunc(jittered(lookAgain), cancel)
	defer stop()
	if !w.enter(ctx) {
		return
	}
	for {
		e, err := w.k.store.Get(ctx, w.key, backend.GetOptions{})
		if err == nil && (e == nil || e.Session == "" || e.Session == w.s.id) {
			index := uint64(0)
			if e != nil {
				index = e.ModifyIndex
			}
			if index == w.free { // and it could not be locked: a lock delay
				w.pause.wait(ctx)
			}
			w.free = index
			return
		}
		if err == nil {
			_, err = w.k.store.Watch(ctx, backend.WatchQuery{Key: w.key, After: e.ModifyIndex})
		}
		if err != nil {
			w.pause.wait(ctx)
			return
		}
		w.pause.reset()
	}
}

// A turn is what the waiters for one key take turns with.
type turn struct {
	taken   chan struct{} // holds one thing while somebody has the turn
	waiters int
}

// enter waits for the turn, unless it is w's, and reports whether it is.
func (w *waiter) enter(ctx context.Context) bool {
	if w.turn == nil {
		w.k.mu.Lock()
		w.turn = w.k.turns[w.key]
		if w.turn == nil {
			w.turn = &turn{taken: make(chan struct{}, 1)}
			w.k.turns[w.key] = w.turn
		}
		w.turn.waiters++
		w.k.mu.Unlock()
	}
	if !w.mine {
		select {
		case w.turn.taken <- struct{}{}:
			w.mine = true
		case <-ctx.Done():
		}
	}
	return w.mine
}

// end lets the next one have the turn.
func (w *waiter) end() {
	w.pause.end()
	if w.turn == nil {
		return
	}
	if w.mine {
		<-w.turn.taken
	}
	w.k.mu.Lock()
	defer w.k.mu.Unlock()
	if w.turn.waiters--; w.turn.waiters == 0 {
		delete(w.k.turns, w.key)
	}
}

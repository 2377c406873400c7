package locking

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
)

// A lock is a lock that was taken.
type lock struct {
	k   *Keeper
	s   *session
	key string
	// own tells that the session ends with the lock.
	own   bool
	token uint64
	// index is the modify index that the key had when it was locked.
	index uint64
	lost  chan struct{}
	// ctx ends when the lock is lost.
	ctx    context.Context
	cancel context.CancelFunc
}

// hold returns the lock that w took, with e as the key's entry, or nil if the
// session may have ended since.
func (k *Keeper) hold(w *waiter, e *backend.Entry) *lock {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.overdue(w.s) {
		return nil
	}
	l := &lock{k: k, s: w.s, key: w.key, own: w.own, token: e.LockToken, index: e.ModifyIndex, lost: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(k.ctx)
	w.s.locks[l] = struct{}{}
	k.running.Go(l.watch)
	return l
}

// lose makes l lost, if it is held. The caller holds mu.
func (k *Keeper) lose(l *lock) {
	if _, held := l.s.locks[l]; held {
		delete(l.s.locks, l)
		close(l.lost)
		l.cancel()
		k.leave(l.s, l.own)
	}
}

// watch looks after the key as long as the lock is held.
func (l *lock) watch() {
	p := newPause(l.k.clock)
	defer p.end()
	for after := l.index; l.held(); {
		p.start()
		_, watched := l.k.store.Watch(l.ctx, backend.WatchQuery{Key: l.key, After: after})
		e, err := l.k.store.Get(l.ctx, l.key, backend.GetOptions{})
		if backend.CodeOf(err) == backend.Closed || err == nil && !l.holds(e) {
			l.end()
			return
		}
		if err == nil {
			after = e.ModifyIndex
		}
		if err != nil || watched != nil { // without news it looks now and then
			p.wait(l.ctx)
		} else {
			p.reset()
		}
	}
}

// holds reports whether l holds the key whose entry is e.
func (l *lock) holds(e *backend.Entry) bool { return e != nil && e.LockToken == l.token }

// end makes all locks lost that are this one: a session may lock a key twice.
func (l *lock) end() {
	l.k.mu.Lock()
	defer l.k.mu.Unlock()
	for other := range l.s.locks {
		if other.key == l.key && other.token == l.token {
			l.k.lose(other)
		}
	}
}

// held reports whether the lock is held as far as this process can tell.
func (l *lock) held() bool {
	l.k.mu.Lock()
	defer l.k.mu.Unlock()
	if l.k.overdue(l.s) {
		l.k.loseAll(l.s)
	}
	_, held := l.s.locks[l]
	return held
}

// Key, Session and Token are as in backend.Lock.
func (l *lock) Key() string     { return l.key }
func (l *lock) Session() string { return l.s.id }
func (l *lock) Token() uint64   { return l.token }

// Lost returns the channel that is closed when the lock is no longer held.
func (l *lock) Lost() <-chan struct{} {
	l.held()
	return l.lost
}

// Value returns the value of the key if anybody holds it.
func (l *lock) Value(ctx context.Context) (value []byte, held bool, err error) {
	return backend.LockValue(ctx, l.k.store, l.key)
}

// Unlock releases the key. It ends with UnknownOutcome if it can not find out
// whether it did; the lock stays held until it is known to be lost.
func (l *lock) Unlock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return backend.Errorf(backend.NoQuorum, l.key, "the call was over before it began and changed nothing: %w", err)
	}
	if l.k.ctx.Err() != nil {
		return closed(l.key)
	}
	if !l.held() {
		return l.wasLost()
	}
	p := newPause(l.k.clock)
	defer p.end()
	var doubt uint64 // see release
	var err error
	for {
		p.start()
		doubt, err = l.release(ctx, doubt)
		switch code := backend.CodeOf(err); {
		case err == nil:
			l.end()
			if l.own {
				select {
				case <-l.s.gone:
				case <-ctx.Done(): // it will be
				}
			}
			return nil
		case code == backend.LockLost:
			l.end()
			return err
		case ctx.Err() != nil: // is told below
		case code == backend.Conflict: // somebody changed the value
			continue
		case code == backend.UnknownOutcome, code == backend.NoQuorum, code == backend.NotReady, code == backend.TxnConflict:
			p.wait(ctx)
			continue
		}
		switch {
		case doubt != 0:
			return backend.Errorf(backend.UnknownOutcome, l.key, "the lock may be released or not; ask again: %w", because(ctx, err))
		case ctx.Err() != nil:
			return backend.Errorf(backend.NoQuorum, l.key, "the lock was not released: %w", because(ctx, err))
		}
		return about(l.key, err)
	}
}

// release tries to release the key with the value that it has. doubt is the index of
// the key at which an earlier attempt was made that may have succeeded or may yet, or
// 0; once the key is held at another index, it can not. release returns the doubt that
// remains.
func (l *lock) release(ctx context.Context, doubt uint64) (uint64, error) {
	e, err := l.k.store.Get(ctx, l.key, backend.GetOptions{})
	switch {
	case err != nil:
		return doubt, err
	case !l.holds(e) && doubt != 0:
		return 0, nil
	case !l.holds(e):
		return 0, l.wasLost()
	case e.ModifyIndex != doubt:
		doubt = 0
	}
	ops := []backend.TxnOp{
		{Verb: backend.VerbCheckIndex, Key: l.key, Index: e.ModifyIndex},
		{Verb: backend.VerbUnlock, Key: l.key, Value: e.Value, Flags: e.Flags, Session: l.s.id},
	}
	if e.ExpiresAfter != 0 { // which unlock does not keep; and values count, also those that another replaces
		ops[1].Value = nil
		ops = append(ops, backend.TxnOp{Verb: backend.VerbSet, Key: l.key, Value: e.Value, Flags: e.Flags, ExpiresAfter: e.ExpiresAfter})
	}
	if _, err = l.k.store.Txn(ctx, ops); backend.CodeOf(err) == backend.UnknownOutcome {
		doubt = e.ModifyIndex
	}
	return doubt, err
}

func (l *lock) wasLost() error {
	return backend.Errorf(backend.LockLost, l.key, "the lock is not held any more; take it again")
}

package memory

import (
	"bytes"
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
)

// A lock is a handle of a lock that was taken. It is in the store's handles until
// it is lost.
type lock struct {
	s       *Store
	key     string
	session string
	// own tells that the session ends with the lock.
	own   bool
	token uint64
	lost  chan struct{}
}

// Lock waits until the key is free and takes it.
func (s *Store) Lock(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
	if err := s.limits.CheckLock(opts); err != nil {
		return nil, err
	}
	if err := checkContext(ctx, opts.Key); err != nil {
		return nil, err
	}
	l := &lock{s: s, key: opts.Key, session: opts.Session, own: opts.Session == "", lost: make(chan struct{})}
	value := bytes.Clone(opts.Value)
	for {
		w, err := s.take(l, value, opts.Own)
		if err == nil && w == nil {
			return l, nil
		}
		if err == nil {
			s.wait(ctx, w)
			err = checkContext(ctx, l.key)
		}
		if err != nil {
			s.drop(l)
			return nil, err
		}
	}
}

// take takes the lock if the key is free, and else returns a waiter for when it
// may be.
func (s *Store) take(l *lock, value []byte, own backend.SessionOptions) (*waiter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(l.key); err != nil {
		return nil, err
	}
	if l.session == "" {
		if own.TTL == 0 {
			own.TTL = backend.DefaultLockTTL
		}
		made, err := s.begin(own, true)
		if err != nil {
			return nil, err
		}
		l.session = made.ID
	}
	holder, err := s.alive(l.key, l.session)
	if err != nil {
		return nil, err
	}
	old := s.entries[l.key]
	e, err := s.locked(old, backend.TxnOp{Key: l.key, Value: value, Session: l.session})
	if backend.CodeOf(err) == backend.Conflict {
		return s.waiters.forKeys(l.key, sessionKey(l.session))
	}
	if err == nil {
		err = s.room(l.key, 1)
	}
	if err != nil {
		return nil, err
	}
	s.renew(holder)
	s.install(l.key, e)
	l.token = e.LockToken
	if s.handles[l.key] == nil {
		s.handles[l.key] = map[*lock]struct{}{}
	}
	s.handles[l.key][l] = struct{}{}
	return nil, nil
}

// drop ends the session that was made for a lock that was not taken.
func (s *Store) drop(l *lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.own && !s.closed {
		s.end(l.session)
	}
}

// locked returns what a lock operation makes of old, which may be nil. The caller
// holds mu.
func (s *Store) locked(old *backend.Entry, op backend.TxnOp) (*backend.Entry, error) {
	if _, err := s.alive(op.Key, op.Session); err != nil {
		return nil, err
	}
	e := written(old, op.Key, op.Value, op.Flags, 0)
	switch {
	case e.Session == op.Session:
		return e, nil
	case e.Session != "":
		return nil, backend.Errorf(backend.Conflict, op.Key, "the session %q holds the lock; wait until it is free", e.Session)
	case s.delays[op.Key] != nil:
		return nil, backend.Errorf(backend.Conflict, op.Key, "the session of the last holder ended and its lock delay is in force; wait until that is over")
	}
	e.Session, e.LockToken = op.Session, 0
	e.LockIndex++
	return e, nil
}

// Key, Session, Token and Lost are as in backend.Lock.
func (l *lock) Key() string           { return l.key }
func (l *lock) Session() string       { return l.session }
func (l *lock) Token() uint64         { return l.token }
func (l *lock) Lost() <-chan struct{} { return l.lost }

// Value returns the value of the key if anybody holds it.
func (l *lock) Value(ctx context.Context) (value []byte, held bool, err error) {
	return backend.LockValue(ctx, l.s, l.key)
}

// Unlock releases the key.
func (l *lock) Unlock(ctx context.Context) error {
	if err := checkContext(ctx, l.key); err != nil {
		return err
	}
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(l.key); err != nil {
		return err
	}
	if _, held := s.handles[l.key][l]; !held {
		return backend.Errorf(backend.LockLost, l.key, "the lock is not held any more; take it again")
	}
	if err := s.room(l.key, 1); err != nil {
		return err
	}
	free := new(*s.entries[l.key])
	free.Session, free.LockToken = "", 0
	s.install(l.key, free)
	return nil
}

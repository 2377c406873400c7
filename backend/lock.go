package backend

import (
	"context"
	"time"
)

// DefaultLockTTL is the TTL of the session that Lock makes when none is given.
const DefaultLockTTL = 15 * time.Second

// Locker is a backend whose keys can be held as locks.
//
// A key is held while it names a live session. Plain writes ignore that and keep
// the session; deleting the key frees it. Who must not write when it has lost a
// lock carries a Fence.
type Locker interface {
	// Lock waits until the key is free, stores the value and makes the session the
	// holder. Of all holders of a key, at most one session holds it at a time; in
	// which order those that wait get it is not promised.
	//
	// It fails with SessionInvalid when the session ends meanwhile, and when ctx
	// ends with NoQuorum, or with UnknownOutcome if a session of the caller's may
	// hold the key for all that. The lock outlives ctx.
	Lock(ctx context.Context, opts LockOptions) (Lock, error)
}

// LockOptions say what to lock, and for whom.
type LockOptions struct {
	Key string
	// Value tells others who holds the lock.
	Value []byte
	// Session is the session that is to hold the lock. Its owner renews it, and has
	// to do so through the same Backend value, since Lost counts from the renewals
	// that it knows of. Lock renews it when it takes the lock.
	//
	// When it is empty, Lock creates a session, renews it while it waits and while
	// the lock is held, and destroys it at the end.
	Session string
	// Own describes the session that Lock creates; a TTL of 0 stands for
	// DefaultLockTTL. It must be zero when Session is given.
	Own SessionOptions
}

// Lock is a lock that was taken. It is safe for use by many goroutines.
type Lock interface {
	// Key is the key, Session the ID of the session that holds it.
	Key() string
	Session() string

	// Token is the LockToken of the key's entry under this lock: greater than that
	// of every earlier holder.
	Token() uint64

	// Lost is closed when the lock is no longer held: its session ended, or may have
	// ended as far as this process can tell, or the key was released or deleted, or
	// the backend was closed, or Unlock succeeded. When the session expires, it is
	// closed before another session can hold the key, unless this process was
	// stopped meanwhile; when it is destroyed by somebody else, as soon as the news
	// arrives, for which the lock delay gives time.
	Lost() <-chan struct{}

	// Value returns what LockValue does for the key.
	Value(ctx context.Context) (value []byte, held bool, err error)

	// Unlock releases the key and leaves its value. It fails with LockLost when the
	// lock is not held any more, also after Unlock.
	Unlock(ctx context.Context) error
}

// LockValue returns the value of key if a session holds it as a lock, and whether
// one does. Anyone may ask.
func LockValue(ctx context.Context, b Backend, key string) (value []byte, held bool, err error) {
	e, err := b.Get(ctx, key, GetOptions{})
	if err != nil || e == nil || e.Session == "" {
		return nil, false, err
	}
	return e.Value, true, nil
}

// CheckLock returns an error unless opts could describe a lock.
func (l Limits) CheckLock(opts LockOptions) error {
	if err := l.CheckKey(opts.Key); err != nil {
		return err
	}
	if err := l.CheckValue(opts.Key, opts.Value); err != nil {
		return err
	}
	own := opts.Own
	if opts.Session != "" && (own.Name != "" || own.TTL != 0 || own.Behavior != "" || own.LockDelay != 0 || own.Data != nil) {
		return Errorf(Invalid, opts.Key, "a lock is held by a given session or by one of its own and not both")
	}
	return CheckSession(own)
}

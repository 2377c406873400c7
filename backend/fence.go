package backend

import "context"

// MaxFences is the most locks that a backend keeps fences for.
const MaxFences = 1024

// Fencer is a backend that refuses the writes of former holders of a lock.
type Fencer interface {
	// Fence makes every write fail with Fenced, from the moment it returns, that
	// carries an older token of the same lock, whichever member it comes through;
	// nothing that such a write left half done surfaces later. Writes that carry no
	// fence, or one of another lock, are not concerned. A fence is durable and has
	// no end.
	//
	// It fails with LockLost unless f is that of the present holder, and with Fenced
	// when a newer one is in force; for more than MaxFences locks with TooLarge. The
	// new holder of a lock calls it before it does anything else.
	Fence(ctx context.Context, f Fence) error
}

// Fence is the right to write that comes with a lock. The zero value is none.
type Fence struct {
	// Key is the key of the lock.
	Key string
	// Token is its Lock.Token or Entry.LockToken.
	Token uint64
}

// FenceOf returns the fence of a lock, for writes and for Fencer.Fence.
func FenceOf(l Lock) Fence { return Fence{Key: l.Key(), Token: l.Token()} }

// CheckFence returns an Invalid or TooLarge error if the fence that a write of
// key carries can be none. The zero fence is right.
func (l Limits) CheckFence(key string, f Fence) error {
	if f == (Fence{}) {
		return nil
	}
	if err := l.CheckKey(f.Key); err != nil {
		return Errorf(CodeOf(err), key, "the fence's key: %w", err)
	}
	if f.Token == 0 {
		return Errorf(Invalid, key, "the fence of lock %q has no token; take it from the lock", f.Key)
	}
	return nil
}

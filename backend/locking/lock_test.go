package locking

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

func TestUnknownOutcomeOfUnlock(t *testing.T) {
	for name, h := range outcomes {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(f *fixture) {
				l := f.lock(backend.LockOptions{Key: "k", Value: []byte("v"), Own: quick})
				f.store.on("Txn", times(1, h))
				require.NoError(t, l.Unlock(f.ctx))
				require.True(t, isLost(l))
				e := f.get("k")
				require.Empty(t, e.Session)
				require.Equal(t, "v", string(e.Value))
				f.none()
				f.lost(l)
			})
		})
	}
}

func TestUnlockEndsWithItsContext(t *testing.T) {
	for want, h := range map[backend.Code]hook{backend.UnknownOutcome: fails(backend.UnknownOutcome), backend.NoQuorum: fails(backend.NoQuorum)} {
		inBubble(t, func(f *fixture) {
			l := f.lock(backend.LockOptions{Key: "k", Own: quick})
			f.store.on("Txn", h)
			ctx, cancel := context.WithTimeout(f.ctx, time.Second)
			defer cancel()
			err := l.Unlock(ctx)
			require.Equal(t, want, backend.CodeOf(err), "%v", err)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.False(t, isLost(l))
			f.store.on("Txn", nil)
			require.NoError(t, l.Unlock(f.ctx))
			f.none()
		})
	}
}

func TestUnlockFails(t *testing.T) {
	inBubble(t, func(f *fixture) {
		l := f.lock(backend.LockOptions{Key: "k", Own: quick})
		f.store.on("Txn", fails(backend.Unauthorized))
		require.ErrorIs(t, l.Unlock(f.ctx), backend.ErrUnauthorized)
		require.False(t, isLost(l))
	})
}

// Unlock looks itself, and without watches the loss is found by looking.
func TestLossWithoutWatches(t *testing.T) {
	inBubble(t, func(f *fixture) {
		f.store.on("Watch", fails(backend.NotReady))
		a, b := f.lock(backend.LockOptions{Key: "a", Own: quick}), f.lock(backend.LockOptions{Key: "b", Own: quick})
		f.pass(time.Minute)
		require.NoError(t, f.mem.Delete(f.ctx, "a", backend.DeleteOptions{}))
		require.NoError(t, f.mem.Delete(f.ctx, "b", backend.DeleteOptions{}))
		require.ErrorIs(t, a.Unlock(f.ctx), backend.ErrLockLost)
		require.True(t, isLost(a))
		require.False(t, isLost(b))
		f.pass(lastPause)
		f.lost(b)
		f.none()
	})
}

// What was written under the lock stays, also what comes while it is released.
func TestUnlockLeavesTheValue(t *testing.T) {
	inBubble(t, func(f *fixture) {
		l := f.lock(backend.LockOptions{Key: "k", Value: []byte("v"), Own: quick})
		_, err := f.mem.Put(f.ctx, "k", []byte("1"), backend.PutOptions{Flags: 7})
		require.NoError(t, err)
		n := 0
		f.store.on("Txn", times(3, func(context.Context) (func() error, error) {
			n++
			_, err := f.mem.Put(f.ctx, "k", []byte("late"), backend.PutOptions{Flags: uint64(n)})
			return nil, err
		}))
		require.NoError(t, l.Unlock(f.ctx))
		e := f.get("k")
		require.Equal(t, 3, n)
		require.Equal(t, "late", string(e.Value))
		require.Equal(t, uint64(3), e.Flags)
		require.Empty(t, e.Session)
	})
}

func TestValue(t *testing.T) {
	inBubble(t, func(f *fixture) {
		l := f.lock(backend.LockOptions{Key: "k", Value: []byte("v"), Own: quick})
		value, held, err := l.Value(f.ctx)
		require.NoError(t, err)
		require.True(t, held)
		require.Equal(t, "v", string(value))
		f.store.on("Get", fails(backend.NoQuorum))
		_, _, err = l.Value(f.ctx)
		require.ErrorIs(t, err, backend.ErrNoQuorum)
		f.store.on("Get", nil)
	})
}

// An attempt of Unlock in doubt happens after all, just before the next one, which
// fails because of it.
func TestUnlockInDoubtHappensLate(t *testing.T) {
	inBubble(t, func(f *fixture) {
		l := f.lock(backend.LockOptions{Key: "k", Value: []byte("v"), Session: f.session(backend.SessionOptions{})})
		attempts := 0
		f.store.on("Txn", func(ctx context.Context) (func() error, error) {
			if attempts++; attempts == 1 {
				return nil, fault(backend.UnknownOutcome)
			}
			_, err := f.mem.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbUnlock, Key: "k", Value: []byte("v"), Session: l.Session()}})
			return nil, err
		})
		require.NoError(t, l.Unlock(f.ctx), "it released the lock")
		f.lost(l)
	})
}

// An attempt in doubt can not happen any more when the key has changed meanwhile.
func TestUnlockInDoubtIsSettled(t *testing.T) {
	inBubble(t, func(f *fixture) {
		l := f.lock(backend.LockOptions{Key: "k", Session: f.session(backend.SessionOptions{})})
		attempts := 0
		f.store.on("Txn", func(context.Context) (func() error, error) {
			if attempts++; attempts > 1 {
				return nil, fault(backend.NoQuorum)
			}
			f.put("k", "changed")
			return nil, fault(backend.UnknownOutcome)
		})
		ctx, cancel := context.WithTimeout(f.ctx, time.Second)
		defer cancel()
		require.ErrorIs(t, l.Unlock(ctx), backend.ErrNoQuorum)
		require.Greater(t, attempts, 1)
	})
}

// What comes after an attempt in doubt does not hide that it may have happened.
func TestUnlockInDoubtEndsInAnotherError(t *testing.T) {
	for _, code := range []backend.Code{backend.Closed, backend.Unauthorized, backend.Internal} {
		inBubble(t, func(f *fixture) {
			l := f.lock(backend.LockOptions{Key: "k", Session: f.session(backend.SessionOptions{})})
			f.store.on("Txn", func(context.Context) (func() error, error) {
				f.store.on("Get", fails(code))
				return nil, fault(backend.UnknownOutcome)
			})
			require.ErrorIs(t, l.Unlock(f.ctx), backend.ErrUnknownOutcome)
		})
	}
}

// The key lives on after Unlock for the lifetime that it was last given.
func TestUnlockKeepsTheLifetime(t *testing.T) {
	inBubble(t, func(f *fixture) {
		l := f.lock(backend.LockOptions{Key: "k", Own: quick})
		value := make([]byte, backend.MaxTxnSize) // as much as a transaction may have
		_, err := f.mem.Put(f.ctx, "k", value, backend.PutOptions{Flags: 7, ExpiresAfter: time.Minute})
		require.NoError(t, err)
		require.NoError(t, l.Unlock(f.ctx))
		e := f.get("k")
		require.Equal(t, time.Minute, e.ExpiresAfter)
		require.True(t, bytes.Equal(value, e.Value))
		require.Equal(t, uint64(7), e.Flags)
		require.Empty(t, e.Session)
	})
}

package openbao

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/openbao/openbao/sdk/v2/physical"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// limited is a backend that can do less than its methods say.
type limited struct {
	*memory.Store
	can backend.Capability
}

func (l limited) Capabilities() backend.Capability { return l.can }

func TestTypeFitsTheBackend(t *testing.T) {
	for ability := range backend.AllCapabilities + 1 {
		for _, standbyReads := range []bool{false, true} {
			b := over(t, limited{newMemory(), ability}, map[string]string{"standby_reads": fmt.Sprint(standbyReads)})
			about := fmt.Sprint(ability, ", standby_reads ", standbyReads)
			locks := ability.Has(backend.CanLock)
			_, is := b.(physical.HABackend)
			require.Equal(t, locks, is, about)
			_, is = b.(physical.RedirectDetect)
			require.Equal(t, locks, is, about)
			_, is = b.(physical.FencingHABackend)
			require.Equal(t, locks && ability.Has(backend.CanFence), is, about)
			_, is = b.(physical.TransactionalBackend)
			require.Equal(t, ability.Has(backend.CanTransact), is, about)
			_, is = b.(physical.CacheInvalidationBackend)
			require.Equal(t, locks && standbyReads && ability.Has(backend.CanWatch), is, about)
		}
	}
}

// OpenBao looks for these words.
func TestTooLarge(t *testing.T) {
	b := open(t, map[string]string{"plugin_path": memoryPlugin, "memory": "true", "max_value_size": "10"})
	ctx := t.Context()
	tx, err := b.(physical.TransactionalBackend).BeginTx(ctx)
	require.NoError(t, err)
	for _, s := range []physical.Backend{b, tx} {
		require.ErrorContains(t, s.Put(ctx, &physical.Entry{Key: "k", Value: make([]byte, 11)}), physical.ErrValueTooLarge)
		require.ErrorContains(t, s.Put(ctx, &physical.Entry{Key: strings.Repeat("k", 2049)}), physical.ErrKeyTooLarge)
		require.NoError(t, s.Put(ctx, &physical.Entry{Key: "k", Value: make([]byte, 10)}))
	}
	require.NoError(t, tx.Rollback(ctx))
}

// The errors of transactions are the SDK's own, also through a plugin's process.
func TestTransactionErrors(t *testing.T) {
	each(t, func(t *testing.T, b physical.Backend) {
		ctx, s := t.Context(), b.(physical.TransactionalBackend)
		tx, err := s.BeginTx(ctx)
		require.NoError(t, err)
		_, err = tx.Get(ctx, "k")
		require.NoError(t, err)
		require.NoError(t, tx.Put(ctx, &physical.Entry{Key: "k", Value: []byte("1")}))
		require.NoError(t, b.Put(ctx, &physical.Entry{Key: "k", Value: []byte("2")}))
		err = tx.Commit(ctx)
		require.ErrorIs(t, err, physical.ErrTransactionCommitFailure)
		require.ErrorIs(t, err, backend.ErrTxnConflict)
		require.ErrorIs(t, tx.Put(ctx, &physical.Entry{Key: "k"}), physical.ErrTransactionAlreadyCommitted)
		require.ErrorIs(t, tx.Rollback(ctx), physical.ErrTransactionAlreadyCommitted)

		tx, err = s.BeginReadOnlyTx(ctx)
		require.NoError(t, err)
		require.ErrorIs(t, tx.Put(ctx, &physical.Entry{Key: "k"}), physical.ErrTransactionReadOnly)
		require.ErrorIs(t, tx.Delete(ctx, "k"), physical.ErrTransactionReadOnly)
		require.NoError(t, tx.Commit(ctx))
		for _, err := range []error{tx.Put(ctx, &physical.Entry{Key: "k"}), tx.Commit(ctx), tx.Rollback(ctx)} {
			require.ErrorIs(t, err, physical.ErrTransactionAlreadyCommitted)
		}
		_, err = tx.Get(ctx, "k")
		require.ErrorIs(t, err, physical.ErrTransactionAlreadyCommitted)
		_, err = tx.List(ctx, "")
		require.ErrorIs(t, err, physical.ErrTransactionAlreadyCommitted)

		e, err := b.Get(ctx, "k")
		require.NoError(t, err)
		require.Equal(t, "2", string(e.Value))
	})
}

// A standby that was made active fences the former active server off, in transactions
// too. Writes that are to happen all the same do.
func TestFormerActiveIsFencedOff(t *testing.T) {
	ctx := t.Context()
	shared := newMemory()
	old, next := over(t, shared, nil), over(t, shared, nil)
	_, lock := takeLock(t, old)
	held, err := lock.(physical.RemoteLock).IsActivelyHeld(ctx)
	require.NoError(t, err)
	require.True(t, held)
	tx, err := old.(physical.TransactionalBackend).BeginTx(ctx)
	require.NoError(t, err)
	require.NoError(t, tx.Put(ctx, &physical.Entry{Key: "k"}))
	sessions, err := shared.Sessions(ctx)
	require.NoError(t, err)
	require.Len(t, sessions, 1)
	require.NoError(t, shared.DestroySession(ctx, sessions[0].ID))
	takeLock(t, next)

	held, err = lock.(physical.RemoteLock).IsActivelyHeld(ctx)
	require.NoError(t, err)
	require.False(t, held)
	for _, err := range []error{tx.Commit(ctx), old.Put(ctx, &physical.Entry{Key: "k"}), old.Delete(ctx, "k")} {
		require.ErrorContains(t, err, physical.ErrFencedWriteFailed)
		require.ErrorIs(t, err, backend.ErrFenced)
	}
	require.NoError(t, old.Put(physical.UnfencedWriteCtx(ctx), &physical.Entry{Key: "k"}))
	require.NoError(t, next.Delete(ctx, "k"))
	require.ErrorContains(t, next.(physical.FencingHABackend).RegisterActiveNodeLock(nil), "register one of this storage")
}

func takeLock(t *testing.T, b physical.Backend) (lost <-chan struct{}, lock physical.Lock) {
	t.Helper()
	lock, err := b.(physical.HABackend).LockWith("core/lock", "x")
	require.NoError(t, err)
	held, err := lock.(physical.RemoteLock).IsActivelyHeld(t.Context())
	require.NoError(t, err)
	require.False(t, held)
	lost, err = lock.Lock(nil)
	require.NoError(t, err)
	require.NoError(t, b.(physical.FencingHABackend).RegisterActiveNodeLock(lock))
	return lost, lock
}

// Whatever another server changes is named, also what is deleted.
func TestInvalidation(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	shared := newMemory()
	active, standby := over(t, shared, nil), over(t, shared, map[string]string{"standby_reads": "true"})
	for _, key := range []string{"a", "b", "c"} {
		require.NoError(t, active.Put(ctx, &physical.Entry{Key: key}))
	}
	changed := make(chan []string, 8)
	standby.(physical.CacheInvalidationBackend).HookInvalidate(func(keys ...string) { changed <- keys })
	require.NoError(t, active.Put(ctx, &physical.Entry{Key: "a"}))
	require.NoError(t, active.Delete(ctx, "b"))
	require.NoError(t, active.Put(ctx, &physical.Entry{Key: "d"}))
	named := map[string]bool{}
	for len(named) < 3 {
		select {
		case keys := <-changed:
			for _, key := range keys {
				named[key] = true
			}
		case <-ctx.Done():
			t.Fatalf("only %v were named", named)
		}
	}
	require.Equal(t, map[string]bool{"a": true, "b": true, "d": true}, named)
}

func TestFactoryErrors(t *testing.T) {
	_, err := Factory(map[string]string{"plugin_pth": "x"}, nil)
	require.ErrorContains(t, err, `plugin_pth: there is no such key; did you mean "plugin_path"?`)
	require.ErrorIs(t, err, backend.ErrInvalid)
}

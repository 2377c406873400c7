package vault

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/physical"
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
	for _, test := range []struct {
		can                    backend.Capability
		ha, fencing, transacts bool
	}{
		{0, false, false, false},
		{backend.CanTransact, false, false, true},
		{backend.CanLock, true, false, false},
		{backend.CanLock | backend.CanTransact, true, false, true},
		{backend.CanFence, false, false, false},
		{backend.CanLock | backend.CanFence, true, true, false},
		{backend.AllCapabilities, true, true, true},
	} {
		t.Run(test.can.String(), func(t *testing.T) {
			b := over(t, limited{newMemory(), test.can})
			_, is := b.(physical.HABackend)
			require.Equal(t, test.ha, is)
			_, is = b.(physical.RedirectDetect)
			require.Equal(t, test.ha, is)
			_, is = b.(interface{ RegisterActiveNodeLock(physical.Lock) error })
			require.Equal(t, test.fencing, is)
			_, is = b.(physical.Transactional)
			require.Equal(t, test.transacts, is)
			_, is = b.(interface{ TransactionLimits() (int, int) })
			require.Equal(t, test.transacts, is)
			physical.ExerciseBackend(t, b)
		})
	}
}

// Vault looks for these words.
func TestTooLarge(t *testing.T) {
	b := open(t, map[string]string{"plugin_path": memoryPlugin, "memory": "true", "max_value_size": "10"})
	ctx := t.Context()
	require.ErrorContains(t, b.Put(ctx, &physical.Entry{Key: "k", Value: make([]byte, 11)}), physical.ErrValueTooLarge)
	require.ErrorContains(t, b.Put(ctx, &physical.Entry{Key: strings.Repeat("k", 2049)}), physical.ErrKeyTooLarge)
	require.NoError(t, b.Put(ctx, &physical.Entry{Key: "k", Value: make([]byte, 10)}))
}

// A value that is larger than gRPC's default for a message.
func TestLargeValue(t *testing.T) {
	b := open(t, map[string]string{"plugin_path": memoryPlugin, "memory": "true"})
	large := make([]byte, 7<<20)
	large[len(large)-1] = 1
	require.NoError(t, b.Put(t.Context(), &physical.Entry{Key: "k", Value: large}))
	e, err := b.Get(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, large, e.Value)
}

func TestTransaction(t *testing.T) {
	each(t, func(t *testing.T, b physical.Backend) {
		ctx := t.Context()
		require.NoError(t, b.Put(ctx, &physical.Entry{Key: "old", Value: []byte("1")}))
		get, missing := &physical.Entry{Key: "old"}, &physical.Entry{Key: "none"}
		transact := b.(physical.Transactional).Transaction
		require.NoError(t, transact(ctx, []*physical.TxnEntry{
			{Operation: physical.PutOperation, Entry: &physical.Entry{Key: "old", Value: []byte("2")}},
			{Operation: physical.GetOperation, Entry: get},
			{Operation: physical.GetOperation, Entry: missing},
			{Operation: physical.PutOperation, Entry: &physical.Entry{Key: "none", Value: []byte("3")}},
		}))
		require.Equal(t, "1", string(get.Value), "what was there before")
		require.Nil(t, missing.Value)
		require.Equal(t, "2", read(t, b, "old"))
		require.Equal(t, "3", read(t, b, "none"))

		require.ErrorContains(t, transact(ctx, []*physical.TxnEntry{
			{Operation: physical.PutOperation, Entry: &physical.Entry{Key: "old", Value: []byte("4")}},
			{Operation: physical.ListOperation, Entry: &physical.Entry{Key: "a"}},
		}), "it can get, put and delete")
		var many []*physical.TxnEntry
		most, _ := b.(interface{ TransactionLimits() (int, int) }).TransactionLimits()
		for i := range most + 1 {
			many = append(many, &physical.TxnEntry{Operation: physical.PutOperation, Entry: &physical.Entry{Key: fmt.Sprint("many/", i)}})
		}
		require.ErrorIs(t, transact(ctx, many), backend.ErrTooLarge)
		require.NoError(t, transact(ctx, many[1:]))
		require.Equal(t, "2", read(t, b, "old"))
		names, err := b.List(ctx, "many/")
		require.NoError(t, err)
		require.Len(t, names, most)
	})
}

func read(t *testing.T, b physical.Backend, key string) string {
	t.Helper()
	e, err := b.Get(t.Context(), key)
	require.NoError(t, err)
	require.NotNil(t, e, key)
	return string(e.Value)
}

// A server that was frozen while another became active cannot write any more, whether
// the host registers its lock or is so old that it does not know how.
func TestFormerActiveIsFencedOff(t *testing.T) {
	for _, registers := range []bool{true, false} {
		t.Run(fmt.Sprint("registers ", registers), func(t *testing.T) {
			ctx := t.Context()
			shared := newMemory()
			old, next := over(t, shared), over(t, shared)
			lost := takeLock(t, old, "old", registers)
			require.NoError(t, old.Put(ctx, &physical.Entry{Key: "k", Value: []byte("old")}))
			endSessions(t, shared)
			<-lost
			require.NoError(t, old.Put(ctx, &physical.Entry{Key: "k", Value: []byte("late")}), "nobody else is active yet")
			takeLock(t, next, "next", registers)

			for name, write := range map[string]func(context.Context) error{
				"put":    func(ctx context.Context) error { return old.Put(ctx, &physical.Entry{Key: "k"}) },
				"delete": func(ctx context.Context) error { return old.Delete(ctx, "k") },
				"transaction": func(ctx context.Context) error {
					return old.(physical.Transactional).Transaction(ctx, []*physical.TxnEntry{{Operation: physical.DeleteOperation, Entry: &physical.Entry{Key: "k"}}})
				},
			} {
				err := write(ctx)
				require.ErrorIs(t, err, backend.ErrFenced, name)
				require.ErrorContains(t, err, "lock has changed ownership", name)
			}
			require.Equal(t, "late", read(t, next, "k"))
			require.NoError(t, next.Put(ctx, &physical.Entry{Key: "k", Value: []byte("next")}))
			require.Equal(t, "next", read(t, old, "k"))
		})
	}
}

// takeLock makes a storage that of the active server, and returns the channel that
// says when it is not any more.
func takeLock(t *testing.T, b physical.Backend, value string, register bool) <-chan struct{} {
	t.Helper()
	lock, err := b.(physical.HABackend).LockWith("core/lock", value)
	require.NoError(t, err)
	lost, err := lock.Lock(nil)
	require.NoError(t, err)
	if register {
		require.NoError(t, b.(interface{ RegisterActiveNodeLock(physical.Lock) error }).RegisterActiveNodeLock(lock))
	}
	return lost
}

func endSessions(t *testing.T, s backend.Sessions) {
	t.Helper()
	all, err := s.Sessions(t.Context())
	require.NoError(t, err)
	for _, one := range all {
		require.NoError(t, s.DestroySession(t.Context(), one.ID))
	}
}

func TestRegisterWhatIsNoLock(t *testing.T) {
	shared := newMemory()
	one, two := over(t, shared), over(t, shared)
	lock, err := two.(physical.HABackend).LockWith("core/lock", "two")
	require.NoError(t, err)
	register := one.(interface{ RegisterActiveNodeLock(physical.Lock) error }).RegisterActiveNodeLock
	require.ErrorContains(t, register(lock), "the lock was never held")
	require.ErrorContains(t, register(nil), "register one of this storage")
}

func TestFactoryErrors(t *testing.T) {
	for _, test := range []struct {
		stanza map[string]string
		want   string
	}{
		{nil, "plugin_path: it is not set"},
		{map[string]string{"plugin_pth": "x", "mode": "embedded"}, `plugin_pth: there is no such key; did you mean "plugin_path"?`},
		{map[string]string{"plugin_path": "/does/not/exist", "memory": "true"}, "there is no plugin at /does/not/exist"},
		{map[string]string{"plugin_path": memoryPlugin, "memory": "true", "plugin_sha256": strings.Repeat("00", 32)}, "is not the one that was asked for"},
	} {
		_, err := Factory(test.stanza, nil)
		require.ErrorContains(t, err, test.want)
		require.ErrorIs(t, err, backend.ErrInvalid)
	}
}

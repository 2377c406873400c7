package vault

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/hostring"
	"github.com/chord-plugin/chord-plugin/integration/process"
)

// counted is a storage that counts its operations before they begin.
type counted struct {
	physical.Backend
	count func()
}

func (c counted) Put(ctx context.Context, e *physical.Entry) error {
	c.count()
	return c.Backend.Put(ctx, e)
}

func (c counted) Get(ctx context.Context, key string) (*physical.Entry, error) {
	c.count()
	return c.Backend.Get(ctx, key)
}

func (c counted) Delete(ctx context.Context, key string) error {
	c.count()
	return c.Backend.Delete(ctx, key)
}

func (c counted) List(ctx context.Context, prefix string) ([]string, error) {
	c.count()
	return c.Backend.List(ctx, prefix)
}

func (c counted) Transaction(ctx context.Context, entries []*physical.TxnEntry) error {
	c.count()
	return c.Backend.(physical.Transactional).Transaction(ctx, entries)
}

func (c counted) HAEnabled() bool { return c.Backend.(physical.HABackend).HAEnabled() }

func (c counted) LockWith(key, value string) (physical.Lock, error) {
	c.count()
	return c.Backend.(physical.HABackend).LockWith(key, value)
}

func (c counted) RegisterActiveNodeLock(l physical.Lock) error {
	return c.Backend.(interface{ RegisterActiveNodeLock(physical.Lock) error }).RegisterActiveNodeLock(l)
}

// onRing runs a suite in a ring of five processes, and again with a member killed
// before the n-th operation.
func onRing(t *testing.T, hosts int, n int64, run func(t *testing.T, hosts []counted)) {
	t.Helper()
	hostring.Suite(t, ringPlugin, hosts, Factory, n, func(t *testing.T, hosts []physical.Backend, count func()) {
		var all []counted
		for _, b := range hosts {
			all = append(all, counted{b, count})
		}
		run(t, all)
	})
}

// The SDK's suites, each with hosts whose plugins are members of a ring of five
// processes.

func TestRingBackend(t *testing.T) {
	onRing(t, 1, 30, func(t *testing.T, hosts []counted) { physical.ExerciseBackend(t, hosts[0]) })
}

func TestRingListPrefix(t *testing.T) {
	onRing(t, 1, 8, func(t *testing.T, hosts []counted) { physical.ExerciseBackend_ListPrefix(t, hosts[0]) })
}

func TestRingTransactionalBackend(t *testing.T) {
	onRing(t, 1, 5, func(t *testing.T, hosts []counted) { physical.ExerciseTransactionalBackend(t, hosts[0]) })
}

func TestRingHABackend(t *testing.T) {
	onRing(t, 2, 2, func(t *testing.T, hosts []counted) { physical.ExerciseHABackend(t, hosts[0], hosts[1]) })
}

// The former active server writes no more once another is active, and says what Vault
// looks for; it sees who holds the lock, and stops waiting for it when it is told to.
func TestRingFormerActiveIsFencedOff(t *testing.T) {
	r, hosts := hostring.Start(t, ringPlugin, 2, Factory)
	old, next := hosts[0], hosts[1]
	lost := takeLock(t, old, "old", true)
	require.NoError(t, old.Put(t.Context(), &physical.Entry{Key: "k", Value: []byte("old")}))
	require.Equal(t, 1, r.EndSessions())
	await(t, lost)
	takeLock(t, next, "next", true)
	requireFencedOff(t, old)
	require.Equal(t, "old", read(t, next, "k"))

	for _, b := range hosts {
		lock, err := b.(physical.HABackend).LockWith("core/lock", "another")
		require.NoError(t, err)
		held, value, err := lock.Value()
		require.NoError(t, err)
		require.True(t, held)
		require.Equal(t, "next", value)
		stop := make(chan struct{})
		close(stop)
		got, err := lock.Lock(stop)
		require.NoError(t, err)
		require.Nil(t, got)
	}
}

// requireFencedOff requires that no write of a storage gets through.
func requireFencedOff(t *testing.T, b physical.Backend) {
	t.Helper()
	remove := &physical.TxnEntry{Operation: physical.DeleteOperation, Entry: &physical.Entry{Key: "k"}}
	for name, err := range map[string]error{
		"put":         b.Put(t.Context(), &physical.Entry{Key: "k"}),
		"delete":      b.Delete(t.Context(), "k"),
		"transaction": b.(physical.Transactional).Transaction(t.Context(), []*physical.TxnEntry{remove}),
	} {
		require.ErrorIs(t, err, backend.ErrFenced, name)
		require.ErrorContains(t, err, "lock has changed ownership before attempting write", name)
	}
}

// await waits until a lock is lost.
func await(t *testing.T, lost <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case <-lost:
	case <-ctx.Done():
		t.Fatal("the lock is not lost")
	}
}

// An active server's plugin is frozen, with a write on its way, and goes on when
// another server is active: the write is refused. When that one's plugin is killed it
// has lost the lock at once, the first server gets it again, and the plugin that is
// started anew writes nothing with the old lock.
func TestLongRingFrozenAndKilledPlugins(t *testing.T) {
	r, hosts := hostring.Start(t, ringPlugin, 2, Factory)
	old, next := hosts[0], hosts[1]
	ctx := t.Context()
	lost := takeLock(t, old, "old", true)
	require.NoError(t, old.Put(ctx, &physical.Entry{Key: "k", Value: []byte("old")}))
	plugins := r.Plugins()
	require.Len(t, plugins, 2)

	require.NoError(t, process.Freeze(plugins[0]))
	late := make(chan error, 1)
	go func() { late <- old.Put(ctx, &physical.Entry{Key: "k", Value: []byte("late")}) }()
	await(t, lost)
	lost = takeLock(t, next, "next", true)
	require.NoError(t, next.Put(ctx, &physical.Entry{Key: "k", Value: []byte("next")}))
	require.NoError(t, syscall.Kill(plugins[0], syscall.SIGCONT))
	require.ErrorIs(t, <-late, backend.ErrFenced)
	requireFencedOff(t, old)
	require.Equal(t, "next", read(t, old, "k"))

	require.NoError(t, syscall.Kill(plugins[1], syscall.SIGKILL))
	await(t, lost)
	takeLock(t, old, "old", true)
	require.NoError(t, old.Put(ctx, &physical.Entry{Key: "k", Value: []byte("old again")}))
	requireFencedOff(t, next)
	require.Equal(t, "old again", read(t, next, "k"))
	require.NotContains(t, r.Plugins(), plugins[1])
}

// A plugin that is killed can not give the lock back; its host does that once it has
// another one, so that the next server does not wait until the session ends by itself.
func TestRingKilledPluginGivesTheLockBack(t *testing.T) {
	r, hosts := hostring.Start(t, ringPlugin, 2, func(stanza map[string]string, logger hclog.Logger) (physical.Backend, error) {
		stanza["session_ttl"] = "1h"
		return Factory(stanza, logger)
	})
	lost := takeLock(t, hosts[0], "old", true)
	require.NoError(t, syscall.Kill(r.Plugins()[0], syscall.SIGKILL))
	await(t, lost)
	takeLock(t, hosts[1], "next", true)
}

// Of 200 transactions at once that write the same keys and one of their own, each
// happens, as a whole.
func TestRing200Transactions(t *testing.T) {
	_, hosts := hostring.Start(t, ringPlugin, 1, Factory)
	b := hosts[0]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const transactions, shared = 200, 10
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range transactions {
		all.Go(func() {
			<-start
			value := []byte(fmt.Sprint(i))
			pair := fmt.Sprint("shared/", i%shared)
			assert.NoError(t, b.(physical.Transactional).Transaction(ctx, []*physical.TxnEntry{
				{Operation: physical.PutOperation, Entry: &physical.Entry{Key: pair + "/a", Value: value}},
				{Operation: physical.PutOperation, Entry: &physical.Entry{Key: pair + "/b", Value: value}},
				{Operation: physical.PutOperation, Entry: &physical.Entry{Key: "own/" + string(value)}},
			}))
		})
	}
	close(start)
	all.Wait()
	for i := range shared {
		pair := fmt.Sprint("shared/", i)
		require.Equal(t, read(t, b, pair+"/a"), read(t, b, pair+"/b"))
	}
	names, err := b.List(ctx, "own/")
	require.NoError(t, err)
	require.Len(t, names, transactions)
}

// A value that is larger than gRPC's default for a message.
func TestRingLargeValue(t *testing.T) {
	_, hosts := hostring.Start(t, ringPlugin, 1, Factory)
	large := strings.Repeat("0123456", 1<<20)
	require.NoError(t, hosts[0].Put(t.Context(), &physical.Entry{Key: "k", Value: []byte(large)}))
	require.True(t, large == read(t, hosts[0], "k"))
}

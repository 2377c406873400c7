package openbao

import (
	"context"
	"testing"

	"github.com/openbao/openbao/sdk/v2/physical"

	"github.com/chord-plugin/chord-plugin/integration/hostring"
)

// counted is a storage that counts its operations before they begin.
type counted struct {
	physical.TransactionalBackend
	count func()
}

func (c counted) Put(ctx context.Context, e *physical.Entry) error {
	c.count()
	return c.TransactionalBackend.Put(ctx, e)
}

func (c counted) Get(ctx context.Context, key string) (*physical.Entry, error) {
	c.count()
	return c.TransactionalBackend.Get(ctx, key)
}

func (c counted) Delete(ctx context.Context, key string) error {
	c.count()
	return c.TransactionalBackend.Delete(ctx, key)
}

func (c counted) List(ctx context.Context, prefix string) ([]string, error) {
	c.count()
	return c.TransactionalBackend.List(ctx, prefix)
}

func (c counted) BeginTx(ctx context.Context) (physical.Transaction, error) {
	c.count()
	return c.TransactionalBackend.BeginTx(ctx)
}

func (c counted) HAEnabled() bool { return c.TransactionalBackend.(physical.HABackend).HAEnabled() }

func (c counted) LockWith(key, value string) (physical.Lock, error) {
	c.count()
	return c.TransactionalBackend.(physical.HABackend).LockWith(key, value)
}

func (c counted) RegisterActiveNodeLock(l physical.Lock) error {
	return c.TransactionalBackend.(physical.FencingHABackend).RegisterActiveNodeLock(l)
}

// onRing runs a suite in a ring of five processes, and again with a member killed
// before the n-th operation.
func onRing(t *testing.T, hosts int, n int64, run func(t *testing.T, hosts []counted)) {
	t.Helper()
	hostring.Suite(t, ringPlugin, hosts, Factory, n, func(t *testing.T, hosts []physical.Backend, count func()) {
		var all []counted
		for _, b := range hosts {
			all = append(all, counted{b.(physical.TransactionalBackend), count})
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

func TestRingHABackend(t *testing.T) {
	onRing(t, 2, 2, func(t *testing.T, hosts []counted) { physical.ExerciseHABackend(t, hosts[0], hosts[1]) })
}

// TestLongTransactionalBackend has 100 writers, 25 readers and 5 that list. The kill
// comes when a fifth is written.
func TestLongTransactionalBackend(t *testing.T) {
	onRing(t, 1, 1500, func(t *testing.T, hosts []counted) { physical.ExerciseTransactionalBackend(t, hosts[0]) })
}

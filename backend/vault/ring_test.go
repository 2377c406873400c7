package vault

import (
	"context"
	"testing"

	"github.com/hashicorp/vault/sdk/physical"

	"github.com/chord-plugin/chord-plugin/integration/hostring"
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

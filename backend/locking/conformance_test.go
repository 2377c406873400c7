package locking

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A composed is a backend whose locks are a keeper's, in a store that has none.
type composed struct {
	bare
	keeper *Keeper
}

// A bare is a store without locks of its own.
type bare interface {
	Store
	backend.Fencer
	backend.Describer
}

func compose(store *memory.Store, clock Clock) *composed {
	only := struct{ Store }{store}
	return &composed{bare: store, keeper: New(only, clock)}
}

func (c *composed) Lock(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
	return c.keeper.Lock(ctx, opts)
}

func (c *composed) RenewSession(ctx context.Context, id string) (*backend.Session, error) {
	return c.keeper.RenewSession(ctx, id)
}

func (c *composed) DestroySession(ctx context.Context, id string) error {
	return c.keeper.DestroySession(ctx, id)
}

func (c *composed) Close() error {
	c.keeper.Close()
	return c.bare.Close()
}

func TestConformance(t *testing.T) {
	var clock memory.ManualClock
	backendtest.RunWith(t, func(*testing.T) backend.Backend {
		return compose(memory.NewWithClock(backend.Limits{MaxKeySize: 256, MaxValueSize: 128 << 10}, &clock), &clock)
	}, backendtest.Options{Must: backend.AllCapabilities, Advance: clock.Advance, Patience: 2 * lastPause})
}

var _ Clock = (*memory.ManualClock)(nil)

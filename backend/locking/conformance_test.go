package locking

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A composed is a backend whose sessions and locks are a keeper's, in a store that
// has no locks.
type composed struct {
	*Keeper
	rest
}

type rest interface {
	backend.Backend
	backend.Transactional
	backend.Watcher
	backend.Fencer
	backend.Describer
}

func compose(store *memory.Store, clock Clock) *composed {
	return &composed{New(struct{ Store }{store}, clock), store}
}

func (c *composed) Close() error {
	c.Keeper.Close()
	return c.rest.Close()
}

func TestConformance(t *testing.T) {
	var clock memory.ManualClock
	backendtest.RunWith(t, func(*testing.T) backend.Backend {
		return compose(memory.NewWithClock(backend.Limits{MaxKeySize: 256, MaxValueSize: 128 << 10}, &clock), &clock)
	}, backendtest.Options{Must: backend.AllCapabilities, Advance: clock.Advance, Patience: 2 * lastPause})
}

var _ Clock = (*memory.ManualClock)(nil)

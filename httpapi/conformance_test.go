package httpapi

import (
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
	"github.com/chord-plugin/chord-plugin/backend/locking"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

func TestConformance(t *testing.T) { conforms(t, backend.DefaultLimits()) }

func TestConformanceWithSmallLimits(t *testing.T) {
	conforms(t, backend.Limits{MaxKeySize: 256, MaxValueSize: 1 << 10})
}

// conforms tests a client of an agent in memory, both of which live in the time of
// one clock.
func conforms(t *testing.T, limits backend.Limits) {
	var clock memory.ManualClock
	backendtest.RunWith(t, func(t *testing.T) backend.Backend {
		store := memory.NewWithClock(limits, &clock)
		c := serve(t, func(cfg *Config) { cfg.Backend = store }).client()
		c.Keeper.Close()
		c.Keeper = locking.New(direct{c}, &clock)
		return c
	}, backendtest.Options{Must: backend.AllCapabilities, Advance: clock.Advance, Patience: 2 * time.Second})
}

// TestConformanceWithoutTransactions has an agent whose backend can do no more than
// watch.
func TestConformanceWithoutTransactions(t *testing.T) {
	backendtest.RunWith(t, func(t *testing.T) backend.Backend {
		store := memory.New(backend.Limits{MaxKeySize: 256, MaxValueSize: 1 << 10})
		t.Cleanup(func() { store.Close() })
		return serve(t, func(cfg *Config) { cfg.Backend = watching{store, store} }).client()
	}, backendtest.Options{Must: backend.CanWatch})
}

// watching is a backend that can only watch besides.
type watching struct {
	backend.Backend
	backend.Watcher
}

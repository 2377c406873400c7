package httpapi

import (
	"testing"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

func TestConformance(t *testing.T) {
	backendtest.RunWith(t, func(t *testing.T) backend.Backend { return serve(t, nil).client() }, backendtest.Options{Must: backend.CanWatch})
}

func TestConformanceWithSmallLimits(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) backend.Backend {
		store := memory.New(backend.Limits{MaxKeySize: 256, MaxValueSize: 1 << 10})
		return serve(t, func(cfg *Config) { cfg.Backend = store }).client()
	})
}

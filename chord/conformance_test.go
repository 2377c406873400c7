package chord

import (
	"testing"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
)

// conform tests what a ring must be able to do.
func conform(t *testing.T, open func(t *testing.T) backend.Backend) {
	t.Helper()
	backendtest.RunWith(t, open, backendtest.Options{Must: backend.CanTransact})
}

func TestConformance(t *testing.T) {
	t.Run("one member", func(t *testing.T) {
		conform(t, func(t *testing.T) backend.Backend { return openRing(t, 1)[0] })
	})
	t.Run("five members", func(t *testing.T) {
		conform(t, func(t *testing.T) backend.Backend {
			return openMembers(t, 5, 5, func(_ int, cfg *Config) { cfg.MaxValueSize = largestValue })[3]
		})
	})
	t.Run("a client of three members", func(t *testing.T) {
		conform(t, func(t *testing.T) backend.Backend {
			members := openMembers(t, 3, 3, func(_ int, cfg *Config) { cfg.MaxValueSize = largestValue })
			client := openNode(t, Config{Name: "client", Role: RoleClient, Seeds: []string{members[0].GossipAddr()}, MaxValueSize: largestValue})
			waitReady(t, client)
			return client
		})
	})
}

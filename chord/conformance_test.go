package chord

import (
	"testing"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
)

// can is what a node must be able to do.
var can = backendtest.Options{Must: backend.CanWatch | backend.CanTransact}

func TestConformance(t *testing.T) {
	t.Run("one member", func(t *testing.T) {
		backendtest.RunWith(t, func(t *testing.T) backend.Backend { return openRing(t, 1)[0] }, can)
	})
	t.Run("five members", func(t *testing.T) {
		backendtest.RunWith(t, func(t *testing.T) backend.Backend {
			return openMembers(t, 5, 5, func(_ int, cfg *Config) { cfg.MaxValueSize = largestValue })[3]
		}, can)
	})
	t.Run("a client of three members", func(t *testing.T) {
		backendtest.RunWith(t, func(t *testing.T) backend.Backend {
			members := openMembers(t, 3, 3, func(_ int, cfg *Config) { cfg.MaxValueSize = largestValue })
			client := openNode(t, Config{Name: "client", Role: RoleClient, Seeds: []string{members[0].GossipAddr()}, MaxValueSize: largestValue})
			waitReady(t, client)
			return client
		}, can)
	})
}

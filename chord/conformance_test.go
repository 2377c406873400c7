package chord

import (
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
)

// can is what an instance must be able to do, and how much later than it is due it
// may end a lifetime: an owner waits a little longer than the lifetime (a sixty-fourth)
// and until it looks, and both are more where the machine is busy.
var can = backendtest.Options{Must: backend.AllCapabilities, Patience: 5 * time.Second}

func TestConformance(t *testing.T) {
	t.Run("one member", func(t *testing.T) {
		t.Parallel()
		backendtest.RunWith(t, func(t *testing.T) backend.Backend { return keep(openRing(t, 1)[0]) }, can)
	})
	t.Run("five members", func(t *testing.T) {
		t.Parallel()
		backendtest.RunWith(t, func(t *testing.T) backend.Backend {
			return keep(openMembers(t, 5, 5, func(_ int, cfg *Config) { cfg.MaxValueSize = largestValue })[3])
		}, can)
	})
	t.Run("a client of three members", func(t *testing.T) {
		t.Parallel()
		backendtest.RunWith(t, func(t *testing.T) backend.Backend {
			members := openMembers(t, 3, 3, func(_ int, cfg *Config) { cfg.MaxValueSize = largestValue })
			client := openNode(t, Config{Name: "client", Role: RoleClient, Seeds: []string{members[0].GossipAddr()}, MaxValueSize: largestValue})
			waitReady(t, client)
			return keep(client)
		}, can)
	})
}

package chord

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// TestClockOff: one member of three whose clock is an hour off is told so; the
// others go on.
func TestClockOff(t *testing.T) {
	for name, off := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			nodes := openMembers(t, 3, 3, func(i int, cfg *Config) {
				if i == 1 {
					cfg.wall = func() time.Time { return time.Now().Add(off) }
				}
			})
			for _, n := range nodes {
				waitReady(t, n)
			}
			var keys []string
			mine := 0
			for _, k := range numbered("k/", 1000) { // six that it proposes itself, six that it hands to others
				if own := nodes[0].ring.Load().placement.Owners(k)[0].ID == nodes[1].ID(); own && mine < 6 {
					keys, mine = append(keys, k), mine+1
				} else if !own && len(keys)-mine < 6 {
					keys = append(keys, k)
				}
			}
			require.Len(t, keys, 12)
			for _, k := range keys {
				put(t, nodes[0], k, "v")
				put(t, nodes[2], k, "w")
				require.Equal(t, "w", get(t, nodes[0], k))
			}
			for _, k := range keys {
				own := nodes[0].ring.Load().placement.Owners(k)[0].ID == nodes[1].ID()
				_, err := nodes[1].Put(within(t, time.Second), k, []byte("x"), backend.PutOptions{})
				if off < 0 && !own && backend.CodeOf(err) == backend.UnknownOutcome {
					continue // another took it over, whose answer was not to be believed
				}
				require.Equal(t, backend.NotReady, backend.CodeOf(err), "%v", err)
				require.ErrorContains(t, err, "clock")
				require.ErrorContains(t, err, "max_clock_drift (10m0s)")
			}
			for _, k := range keys {
				require.Equal(t, "w", get(t, nodes[0], k), "what was refused has happened")
				put(t, nodes[2], k, "y")
				require.Equal(t, "y", get(t, nodes[0], k))
			}
			require.Equal(t, keys, names(t, nodes[2], backend.ListQuery{Prefix: "k/"}))
		})
	}
}

// TestClockALittleOff: within max_clock_drift nobody notices.
func TestClockALittleOff(t *testing.T) {
	nodes := openMembers(t, 3, 3, func(i int, cfg *Config) {
		cfg.wall = func() time.Time { return time.Now().Add(time.Duration(i-1) * 4 * time.Minute) }
	})
	for _, n := range nodes {
		waitReady(t, n)
	}
	var last uint64
	for i := range 30 {
		index, err := nodes[i%3].Put(context.Background(), "k", []byte{byte(i)}, backend.PutOptions{})
		require.NoError(t, err)
		require.Greater(t, index, last)
		last = index
		require.Equal(t, string([]byte{byte(i)}), get(t, nodes[(i+1)%3], "k"))
	}
}

package soak

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

// TestSpare: the soak takes away what the ring says that it can lose.
func TestSpare(t *testing.T) {
	for n := 1; n <= most; n++ {
		side := ring.Side{Replicas: 5, Members: make([]ring.Member, n)}
		require.Equal(t, side.Faults(), faults(n), "%d members", n)
	}
	c, err := cluster.New(cluster.Config{Binary: "x", Dir: t.TempDir(), Members: most})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	s := &soak{ring: c, state: map[*cluster.Member]state{}}
	for _, m := range c.Members[:5] {
		s.state[m] = up
	}
	require.Equal(t, 2, s.spare(0))
	require.Equal(t, 1, s.spare(0, -1), "four members can lose one")
	s.state[c.Members[0]] = down
	require.Equal(t, 1, s.spare(0))
	require.Equal(t, 0, s.spare(0, -1))
	s.state[c.Members[1]] = down
	require.Equal(t, 0, s.spare(0))
}

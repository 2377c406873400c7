package register

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// TestGroupsAreThoseOfThePlacement, also of keys that were forgotten meanwhile and of
// those too long to be remembered, and no more are remembered than the limit says.
func TestGroupsAreThoseOfThePlacement(t *testing.T) {
	c := &ring.Configuration{Epoch: 1, New: ring.Side{Replicas: 3}}
	for i := range 7 {
		id := ring.NodeID([]byte{byte(i)})
		c.New.Members = append(c.New.Members, ring.Member{ID: id, Name: id.Hex(), Addr: "127.0.0.1:1", Tokens: 4})
	}
	c.Sort()
	p := newPlacement(ring.NewPlacement(c))
	for i := range 5 * maxGroups {
		for _, key := range []string{fmt.Sprint("k", i), fmt.Sprint("k", i/2), strings.Repeat("x", maxGroupKey) + fmt.Sprint(i%3)} {
			for range 2 {
				require.Equal(t, p.Placement.Group(key), p.Group(key), key)
			}
			require.LessOrEqual(t, len(p.recent), maxGroups)
			require.LessOrEqual(t, len(p.before), maxGroups)
		}
	}
	require.Contains(t, p.recent, fmt.Sprint("k", 5*maxGroups-1))
	require.NotContains(t, p.recent, strings.Repeat("x", maxGroupKey)+"0")
	require.Zero(t, testing.AllocsPerRun(100, func() { p.Group("k1") }))
}

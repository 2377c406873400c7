package chord

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGiversLeftOut: a walk that left out members which did not answer at first, and
// then misses one more, begins anew with all of them, and does not wait for that one
// for ever.
func TestGiversLeftOut(t *testing.T) {
	nodes := openRing(t, 5)
	require.NoError(t, nodes[4].Close())
	dead := nodes[4].id.Node()
	eventually(t, func() bool { return !nodes[0].peers.usable(dead) }, "nobody misses it")
	s := &syncer{node: nodes[0], st: nodes[0].ring.Load(), copier: copier{pace: newPace(0)}}
	conf := s.st.placement.Configuration()
	var givers []*giver
	for _, m := range conf.New.Members {
		if m.ID == nodes[0].id {
			continue
		}
		g := &giver{member: m, more: true}
		g.gone = m.ID == nodes[1].id || m.ID == nodes[2].id
		givers = append(givers, g)
	}
	require.ErrorIs(t, s.fill(within(t, limit), givers, conf.New.Faults()), errLeftOut)
}

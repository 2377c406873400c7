package chord

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// TestFencesComeBeforeCells: who is given cells has the fences that come with them on
// its disk and in every shard, also those that one of its shards has just learned.
func TestFencesComeBeforeCells(t *testing.T) {
	n := openRing(t, 1)[0]
	at := register.Attempt{Token: 7, Number: 1}
	e := register.FenceEntry{Key: "lock", Try: at, Sealed: at, By: nil}
	n.fences.note([]register.FenceEntry{e}) // as one shard's, before the others and the disk
	st := n.ring.Load()
	require.NoError(t, n.fences.receive(st, carried{register.AppendFenceEntry(nil, &e)}))
	require.Equal(t, []register.FenceEntry{e}, n.store.Fences())
	for _, d := range st.drivers {
		d.input(func(register.Now) { require.Equal(t, at, d.shard.FenceOf("lock").Sealed) })
	}
}

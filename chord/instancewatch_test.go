package chord

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// TestWatchGoesOnWhenRenewed: a watch at an instance whose node was removed from
// the ring goes on at the node that takes its place.
func TestWatchGoesOnWhenRenewed(t *testing.T) {
	nodes, _ := ringOf(t, time.Hour, "a", "b", "c")
	ctx := within(t, 3*limit)
	put(t, nodes[0].Node(), "k", "v")
	index, err := nodes[2].Watch(ctx, backend.WatchQuery{Key: "k"})
	require.NoError(t, err)
	told := make(chan uint64, 1)
	go func() {
		got, err := state(ctx, nodes[2], backend.WatchQuery{Key: "k", After: index})
		if err != nil {
			t.Error(err)
		}
		told <- got
	}()
	old := nodes[2].Node()
	eventually(t, func() bool {
		old.watching.mu.Lock()
		defer old.watching.mu.Unlock()
		return old.watching.watches == 1
	}, "it does not wait")
	old.renew("as the test wants it")
	eventually(t, func() bool { return nodes[2].Node() != old }, "no node takes its place")
	require.Empty(t, told)
	index, err = nodes[0].Put(ctx, "k", []byte("w"), backend.PutOptions{})
	require.NoError(t, err)
	require.Equal(t, index, <-told)
}

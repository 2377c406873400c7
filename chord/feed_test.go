package chord

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFeed: a member names what became durable, and says so when it cannot tell.
func TestFeed(t *testing.T) {
	n := openRing(t, 1)[0]
	ctx := within(t, limit)
	begin, err := n.onFeed(ctx, &feedRequest{Begin: true})
	require.NoError(t, err)
	put(t, n, "other", "v")
	put(t, n, "x/1", "v")
	told, err := n.onFeed(ctx, &feedRequest{Since: begin.Counter, Prefixes: []string{"x/", "y"}})
	require.NoError(t, err)
	require.Equal(t, []string{"x/1"}, told.Keys)
	require.Equal(t, begin.Counter+2, told.Counter)

	later := make(chan *feedReply, 1)
	go func() {
		reply, _ := n.onFeed(ctx, &feedRequest{Since: told.Counter, Prefixes: []string{"x/"}})
		later <- reply
	}()
	put(t, n, "y", "v")
	put(t, n, "x/2", "v")
	told = <-later
	require.Equal(t, []string{"x/2"}, told.Keys)

	for _, since := range []uint64{0, told.Counter + 1} { // of an earlier boot; of a later one
		told, err = n.onFeed(ctx, &feedRequest{Since: since})
		require.NoError(t, err)
		require.True(t, told.Lost)
	}
	for i := range feedKeys + 1 {
		put(t, n, fmt.Sprint("crowd/", i), "")
	}
	told, err = n.onFeed(ctx, &feedRequest{Since: begin.Counter, Prefixes: []string{"crowd/"}})
	require.NoError(t, err)
	require.True(t, told.Lost)
	_, err = n.onFeed(ctx, &feedRequest{Since: begin.Counter, Prefixes: make([]string, feedPrefixes+1)})
	require.Error(t, err)
}

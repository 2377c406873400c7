package plugin_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Nothing is promised that the plugin did not announce.
func TestWatchIsAnnounced(t *testing.T) {
	blind := open(t, map[string]string{"blind": "true"})
	require.Zero(t, backend.CapabilitiesOf(blind))
	_, err := blind.Watch(within(t, time.Minute), backend.WatchQuery{Key: "k"})
	require.Equal(t, backend.Invalid, backend.CodeOf(err))
	require.ErrorContains(t, err, "watch")
}

// A call that waits does not keep Close from closing, and ends with it.
func TestCloseEndsWatch(t *testing.T) {
	c := open(t, nil)
	index, err := c.Put(t.Context(), "k", nil, backend.PutOptions{})
	require.NoError(t, err)
	const watches = 50
	ended := make(chan error, watches)
	for range watches {
		go func() {
			_, err := c.Watch(context.Background(), backend.WatchQuery{Key: "k", After: index})
			ended <- err
		}()
	}
	_, err = c.Watch(within(t, 50*time.Millisecond), backend.WatchQuery{Key: "k", After: index})
	require.Equal(t, backend.NoQuorum, backend.CodeOf(err))
	require.Empty(t, ended)
	require.NoError(t, c.Close())
	for range watches {
		require.Equal(t, backend.Closed, backend.CodeOf(<-ended))
	}
}

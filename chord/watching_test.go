package chord

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// TestWatchRests: where more changes are told while something is read than are worth
// reading one by one, there is a pause before it is read again.
func TestWatchRests(t *testing.T) {
	n := openRing(t, 1)[0]
	w := n.watching
	put(t, n, "r/k", "v")
	_, err := n.Watch(within(t, limit), backend.WatchQuery{Prefix: "r/"})
	require.NoError(t, err)
	w.mu.Lock()
	x := w.watched[watchName{"r/", true}]
	w.mu.Unlock()
	idle := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !x.queued && !x.busy && !x.rests && !x.whole && len(x.dirty) == 0
	}
	for many, changes := range map[bool]int{false: maxDirty, true: maxDirty + 1} {
		eventually(t, idle, "it is not read")
		w.mu.Lock()
		x.busy = true                    // as though a reader had it
		w.resting = append(w.resting, x) // so that no timer ends the rest
		for i := range changes {
			w.soil(x, fmt.Sprint("r/", i), false)
		}
		w.mu.Unlock()
		w.done(x, false, &reading{index: 1}, nil)
		w.mu.Lock()
		w.soil(x, "r/k", false)
		rests, taken := x.rests, x.queued || x.busy
		w.mu.Unlock()
		require.Equal(t, many, rests, "after %d changes", changes)
		require.NotEqual(t, many, taken, "after %d changes", changes)
		w.again()
	}
	eventually(t, idle, "it rests for ever")
}

package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// TestFences: the table of fences only grows, and is there after a crash.
func TestFences(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := mustOpen(t, small(fs))
	require.Empty(t, s.Fences())
	tried := register.FenceEntry{Key: "b", Try: register.Attempt{Token: 7, Number: 1}}
	sealed := register.FenceEntry{Key: "b", Try: register.Attempt{Token: 7, Number: 1}, Sealed: register.Attempt{Token: 7, Number: 1}, By: []ring.Node{3, 1}}
	other := register.FenceEntry{Key: "a", Try: register.Attempt{Token: 2, Number: 1}}
	require.NoError(t, s.KeepFences([]register.FenceEntry{tried, other}))
	require.NoError(t, s.KeepFences([]register.FenceEntry{sealed}))
	require.NoError(t, s.KeepFences([]register.FenceEntry{tried}))
	want := []register.FenceEntry{other, sealed}
	require.Equal(t, want, s.Fences())
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	again := mustOpen(t, small(crashed))
	require.Equal(t, want, again.Fences())
}

package fleet

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/integration/process"
)

// A server's plugin is found among its children, and goes when the server is closed.
func TestChildren(t *testing.T) {
	p, err := startProcess("/bin/sh", []string{"-c", "sleep 1000 & wait"}, nil, filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	var pids []int
	require.Eventually(t, func() bool {
		pids, err = children(p.PID())
		return err != nil || len(pids) == 1
	}, process.KillPatience, process.KillPatience/100)
	require.NoError(t, err)
	require.NoError(t, p.Close())
	require.True(t, p.Ended())
	require.Eventually(t, func() bool { return gone(pids[0]) }, process.KillPatience, process.KillPatience/100)
}

package fleet

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// When the program that started a process is gone, the process goes, and its children.
func TestWatchdog(t *testing.T) {
	p, err := startProcess("/bin/sh", []string{"-c", "sleep 1000 & wait"}, nil, filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer func() { require.NoError(t, p.close()) }()
	var pids []int
	require.Eventually(t, func() bool {
		pids, err = children(p.pid())
		return err != nil || len(pids) == 1
	}, killPatience, killPatience/100)
	require.NoError(t, err)
	require.NoError(t, p.leash.Close())
	require.NoError(t, p.await(killPatience))
	require.Eventually(t, func() bool { return gone(pids[0]) }, killPatience, killPatience/100)
}

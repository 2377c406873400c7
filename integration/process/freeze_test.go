package process

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A frozen process stands still, its children with it if they are to, until it goes on.
func TestFreeze(t *testing.T) {
	started := make(first, 1)
	p, err := Start(Config{Path: "/bin/sh", Args: []string{"-c", "while :; do :; done & echo $!; while :; do :; done"}, Out: started, Children: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	child := <-started
	still := func(pid int) bool {
		threads, err := moving(pid)
		require.NoError(t, err)
		return len(threads) == 0
	}
	require.False(t, still(-p.PID()))

	require.NoError(t, p.Freeze(false))
	require.True(t, still(p.PID()))
	require.False(t, still(child))

	require.NoError(t, p.Freeze(true))
	require.True(t, still(-p.PID()))

	require.NoError(t, p.SignalGroup(syscall.SIGCONT))
	require.False(t, still(p.PID()))
	require.False(t, still(child))
}

func TestFreezeWhatIsGone(t *testing.T) {
	p, err := Start(Config{Path: "/bin/true", Out: make(first)})
	require.NoError(t, err)
	<-p.Done()
	require.ErrorIs(t, p.Freeze(false), syscall.ESRCH)
}

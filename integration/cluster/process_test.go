package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProcess(t *testing.T) {
	start := func(script string) *run {
		out := &lockedBuffer{ready: make(chan struct{})}
		p, err := startRun("/bin/sh", []string{"-c", script}, []string{"PATH=" + os.Getenv("PATH")}, out)
		require.NoError(t, err)
		<-out.ready
		return p
	}
	const obedient = `trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done`
	p := start(obedient)
	require.False(t, p.Ended())
	require.NoError(t, p.stop())
	require.True(t, p.Ended())
	require.NoError(t, p.Signal(syscall.SIGTERM), "it is gone already")

	p = start(obedient)
	require.NoError(t, p.kill())
	require.True(t, p.Killed())

	p = start(`trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done`)
	require.ErrorContains(t, p.stop(), "did not stop cleanly: exit status 3")
	require.False(t, p.Killed())

	_, err := startRun("/nowhere/at/all", nil, nil, io.Discard)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// lockedBuffer closes ready at the first write.
type lockedBuffer struct{ ready chan struct{} }

func (b *lockedBuffer) Write(p []byte) (int, error) {
	select {
	case <-b.ready:
	default:
		close(b.ready)
	}
	return len(p), nil
}

func TestWait(t *testing.T) {
	times := 0
	require.NoError(t, Wait(t.Context(), "the third time", func(context.Context) error {
		if times++; times < 3 {
			return errors.New("not yet")
		}
		return nil
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	err := Wait(ctx, "nothing", func(context.Context) error { return errors.New("never") })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "waited for nothing")
	require.ErrorContains(t, err, "the last time: never")
}

func TestOutput(t *testing.T) {
	path := t.TempDir() + "/log"
	o, err := newOutput(path)
	require.NoError(t, err)
	for i := range 40_000 {
		fmt.Fprintf(o, "line %d\n", i)
	}
	require.Equal(t, "line 39998\nline 39999", o.tail(2))
	require.LessOrEqual(t, len(o.end), 2*tailBytes)
	require.NoError(t, o.close())
	all, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 40_000, bytes.Count(all, []byte("\n")))
}

func TestConfigIsChecked(t *testing.T) {
	for _, n := range []int{0, 27} {
		_, err := New(Config{Binary: "x", Dir: t.TempDir(), Members: n})
		require.ErrorContains(t, err, "allowed are 1 to 26")
	}
	for _, n := range []int{-1, 4} {
		_, err := New(Config{Binary: "x", Dir: t.TempDir(), Members: 3, Founders: n})
		require.ErrorContains(t, err, "founders of 3 members")
	}
	c, err := New(Config{Binary: "x", Dir: t.TempDir(), Members: 3, Founders: 2})
	require.NoError(t, err)
	require.Len(t, c.Founders(), 2)
	require.Contains(t, strings.Join(c.Members[1].Args(), " "), "-expect 2")
	require.NotContains(t, c.Members[2].Args(), "-expect", "who joins founds no ring")
	require.NoError(t, c.Close())

	c, err = New(Config{Binary: "/nowhere/at/all", Dir: t.TempDir(), Members: 1})
	require.NoError(t, err)
	require.ErrorIs(t, c.Start(t.Context()), os.ErrNotExist)
	m := c.Members[0]
	require.ErrorContains(t, m.Kill(), "does not run")
	require.ErrorContains(t, m.Stop(), "does not run")
	require.ErrorContains(t, m.Freeze(), "does not run")
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
}

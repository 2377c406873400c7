package plugin_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/process"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// A plugin that is killed is noticed at once, by calls that wait and by later
// ones, and another one can be opened.
func TestPluginKilled(t *testing.T) {
	c := open(t, nil)
	results := map[backend.Code]chan error{backend.Closed: make(chan error, 1), backend.UnknownOutcome: make(chan error, 1)}
	go func() {
		_, err := c.Get(t.Context(), "hang", backend.GetOptions{})
		results[backend.Closed] <- err
	}()
	go func() {
		_, err := c.Put(t.Context(), "hang", nil, backend.PutOptions{})
		results[backend.UnknownOutcome] <- err
	}()
	waitForHangs(t, c, "2 0")
	select {
	case <-c.Done():
		require.Fail(t, "Done is closed and the plugin is alive")
	default:
	}

	start := time.Now()
	require.NoError(t, syscall.Kill(c.PID(), syscall.SIGKILL))
	for code, result := range results {
		require.Equal(t, code, backend.CodeOf(<-result))
	}
	<-c.Done()
	noticed := time.Since(start)
	t.Logf("noticed after %v", noticed)
	require.Less(t, noticed, time.Second)
	requireGone(t, c.PID())

	_, err := c.Get(t.Context(), "k", backend.GetOptions{})
	require.ErrorIs(t, err, backend.ErrClosed)
	require.ErrorContains(t, err, "the plugin's process is gone")
	require.ErrorContains(t, err, "open it again")
	_, err = c.Put(t.Context(), "k", nil, backend.PutOptions{})
	require.ErrorIs(t, err, backend.ErrClosed)
	_, err = c.List(t.Context(), backend.ListQuery{})
	require.ErrorIs(t, err, backend.ErrClosed)
	require.NoError(t, c.Close())

	c = open(t, nil)
	_, err = c.Put(t.Context(), "k", nil, backend.PutOptions{})
	require.NoError(t, err)
}

// A plugin that ends by itself in the middle of a write.
func TestPluginCrashes(t *testing.T) {
	c := open(t, nil)
	_, err := c.Put(t.Context(), "crash", nil, backend.PutOptions{})
	require.ErrorIs(t, err, backend.ErrUnknownOutcome)
	<-c.Done()
	require.ErrorIs(t, c.Delete(t.Context(), "crash", backend.DeleteOptions{}), backend.ErrClosed)
}

// terminate sends SIGTERM to a plugin until it has ended: the first one lets it wait
// for its host.
func terminate(t *testing.T, c *plugin.Client) {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		_ = syscall.Kill(c.PID(), syscall.SIGTERM) // it may have ended
		select {
		case <-c.Done():
			return
		case <-again.C:
		}
	}
}

// SIGTERM ends a plugin as its host would, SIGINT and SIGHUP do not.
func TestPluginSignalled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "closed")
	c := open(t, map[string]string{"closed_file": file})
	for _, ignored := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		require.NoError(t, syscall.Kill(c.PID(), ignored))
		_, err := c.Put(t.Context(), "k", nil, backend.PutOptions{})
		require.NoError(t, err, ignored)
	}
	terminate(t, c)
	require.FileExists(t, file)
}

// A process that has lost its connection is of no use to anybody and is killed.
func TestPluginLingers(t *testing.T) {
	c := open(t, map[string]string{"linger": "true"})
	begun := time.Now()
	terminate(t, c)
	require.Less(t, time.Since(begun), 10*time.Second, "the process lingers on")
	requireGone(t, c.PID())
}

func TestClose(t *testing.T) {
	file := filepath.Join(t.TempDir(), "closed")
	sockets := t.TempDir()
	t.Setenv("TMPDIR", sockets)
	c := open(t, map[string]string{"closed_file": file})
	require.NotEmpty(t, entriesOf(t, sockets))
	result := make(chan error, 1)
	go func() {
		_, err := c.Put(t.Context(), "hang", nil, backend.PutOptions{})
		result <- err
	}()
	waitForHangs(t, c, "1 0")
	again := make(chan error, 1)
	go func() { again <- c.Close() }()
	require.NoError(t, c.Close())
	require.NoError(t, <-again)
	// The backend knows that nothing happened, and its answer arrives.
	require.ErrorContains(t, <-result, "closed while it hung")
	require.FileExists(t, file)
	requireGone(t, c.PID())
	require.Empty(t, entriesOf(t, sockets))
	<-c.Done()

	_, err := c.Get(t.Context(), "k", backend.GetOptions{})
	require.ErrorIs(t, err, backend.ErrClosed)
	require.ErrorContains(t, err, "the client was closed")
	require.NoError(t, c.Close())
}

// Close reports what the backend closed with, and ends the process all the same.
func TestCloseFails(t *testing.T) {
	c, err := plugin.Open(t.Context(), plugin.Config{Path: testPlugin, Configuration: map[string]string{"close": "fail"}})
	require.NoError(t, err)
	require.Equal(t, &backend.Error{Code: backend.Internal, Message: "the disk is full"}, c.Close())
	requireGone(t, c.PID())
	require.NoError(t, c.Close())
}

// Neither a backend that does not close nor a frozen process keeps the host.
func TestCloseOfAPluginThatHangs(t *testing.T) {
	t.Run("backend", func(t *testing.T) {
		t.Parallel()
		c, err := plugin.Open(t.Context(), plugin.Config{Path: testPlugin, Configuration: map[string]string{"close": "wait"}})
		require.NoError(t, err)
		require.ErrorContains(t, c.Close(), "the backend did not close within 5s")
		requireGone(t, c.PID())
	})
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		c, err := plugin.Open(t.Context(), plugin.Config{Path: testPlugin})
		require.NoError(t, err)
		require.NoError(t, process.Freeze(c.PID()))
		require.ErrorContains(t, c.Close(), "the plugin did not answer in time")
		requireGone(t, c.PID())
	})
}

// A plugin whose host is killed closes its backend and exits. It does not do what
// it would do if it was closed on purpose: the host will start it again.
func TestHostKilled(t *testing.T) {
	file, sockets := filepath.Join(t.TempDir(), "closed"), t.TempDir()
	stopped, rolledBack := filepath.Join(t.TempDir(), "stopped"), filepath.Join(t.TempDir(), "rolled back")
	host := exec.CommandContext(t.Context(), os.Args[0])
	host.Env = append(os.Environ(), hostVariable+"="+testPlugin, closedFileVariable+"="+file, stoppedFileVariable+"="+stopped, rolledBackFileVariable+"="+rolledBack, "TMPDIR="+sockets)
	host.Stderr = os.Stderr
	out, err := host.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, host.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	require.True(t, alive(pid))

	require.NoError(t, host.Process.Kill())
	start := time.Now()
	require.Error(t, host.Wait())
	requireGone(t, pid)
	t.Logf("gone after %v", time.Since(start))
	require.FileExists(t, file)
	require.NoFileExists(t, stopped)
	// Nothing is left of the host's transactions.
	text, err := os.ReadFile(rolledBack)
	require.NoError(t, err)
	require.Equal(t, "rolled back\nrolled back\n", string(text))
	require.Empty(t, entriesOf(t, sockets))
}

// The files that the plugin of actAsHost is configured with.
const (
	closedFileVariable     = "CHORD_TEST_CLOSED_FILE"
	stoppedFileVariable    = "CHORD_TEST_STOPPED_FILE"
	rolledBackFileVariable = "CHORD_TEST_ROLLED_BACK_FILE"
)

// actAsHost loads a plugin, begins transactions, prints the plugin's process ID, and
// waits to be killed.
func actAsHost(path string) error {
	c, err := plugin.Open(context.Background(), plugin.Config{
		Path: path,
		Configuration: map[string]string{
			"closed_file": os.Getenv(closedFileVariable), "stopped_file": os.Getenv(stoppedFileVariable), "rolled_back_file": os.Getenv(rolledBackFileVariable), "stop": "pass", "stop_timeout": "1m",
		},
	})
	if err != nil {
		return err
	}
	for range 2 {
		tx, err := c.Begin(context.Background(), backend.TxOptions{})
		if err != nil {
			return err
		}
		if err := tx.Put(context.Background(), "k", nil, backend.PutOptions{}); err != nil {
			return err
		}
	}
	fmt.Println(c.PID())
	_, err = c.Get(context.Background(), "hang", backend.GetOptions{})
	return fmt.Errorf("the plugin ended before its host: %w", err)
}

// requireGone waits a moment until there is no such process.
func requireGone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, 5*time.Second, func() error {
		if alive(pid) {
			return fmt.Errorf("process %d is alive", pid)
		}
		return nil
	})
}

// alive reports whether a process runs; one that nobody has waited for does not.
func alive(pid int) bool {
	s, err := process.ReadStat(fmt.Sprint("/proc/", pid))
	return err == nil && s.State != 'Z'
}

func entriesOf(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	return entries
}

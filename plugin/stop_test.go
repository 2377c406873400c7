package plugin_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// stopping is a plugin that has something to do before it is closed, with the
// files in which it notes that and its closing, and its log.
type stopping struct {
	*plugin.Client
	stopped, closed string
	log             *log
}

func openStopping(t *testing.T, stop, timeout string) stopping {
	t.Helper()
	s := stopping{stopped: filepath.Join(t.TempDir(), "stopped"), closed: filepath.Join(t.TempDir(), "closed"), log: &log{}}
	var err error
	s.Client, err = plugin.Open(t.Context(), plugin.Config{
		Path:   testPlugin,
		Logger: hclog.New(&hclog.LoggerOptions{Output: s.log, Level: hclog.Info}),
		Configuration: map[string]string{
			"stop": stop, "stop_timeout": timeout, "stopped_file": s.stopped, "closed_file": s.closed,
		},
	})
	require.NoError(t, err)
	return s
}

// log is a bytes.Buffer for many goroutines.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// has waits until the log has a text.
func (l *log) has(t *testing.T, text string) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !strings.Contains(l.text.String(), text) {
			return fmt.Errorf("%q is not in %q", text, l.text.String())
		}
		return nil
	})
}

func requireFile(t *testing.T, file, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, want, string(text))
}

// waitForFile waits until a file holds a text.
func waitForFile(t *testing.T, file, want string) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		text, err := os.ReadFile(file)
		if err == nil && string(text) != want {
			err = fmt.Errorf("%s holds %q", file, text)
		}
		return err
	})
}

// A backend stops before it is closed, and is closed also when that failed.
func TestStopBeforeClose(t *testing.T) {
	s := openStopping(t, "pass", "1m")
	require.NoError(t, s.Close())
	requireFile(t, s.stopped, "stopping\nstopped\n")
	require.FileExists(t, s.closed)

	s = openStopping(t, "fail", "1m")
	require.Equal(t, &backend.Error{Code: backend.NoQuorum, Message: "too few members are here"}, s.Close())
	requireFile(t, s.stopped, "stopping\n")
	require.FileExists(t, s.closed)

	s = openStopping(t, "pass", "0s")
	require.NoError(t, s.Close())
	require.NoFileExists(t, s.stopped)
	require.FileExists(t, s.closed)
}

// The host waits for a plugin that takes long to stop, longer than for others.
func TestStopTakesLong(t *testing.T) {
	t.Parallel()
	s := openStopping(t, "wait", "7s")
	require.EqualError(t, s.Close(), "no quorum: gave up: context deadline exceeded")
	requireFile(t, s.stopped, "stopping\ncontext deadline exceeded\n")
	require.FileExists(t, s.closed)
	requireGone(t, s.PID())
}

// A service manager sends SIGTERM to a host and its plugin, which the host then
// closes as well. One more makes the plugin hurry.
func TestStopHurried(t *testing.T) {
	s := openStopping(t, "wait", "10m")
	result := make(chan error, 1)
	go func() { result <- s.Close() }()
	waitForFile(t, s.stopped, "stopping\n")
	require.NoError(t, syscall.Kill(s.PID(), syscall.SIGTERM))
	s.log.has(t, "terminated: closing the backend")
	require.NoError(t, syscall.Kill(s.PID(), syscall.SIGTERM))
	require.EqualError(t, <-result, "no quorum: gave up: context canceled")
	s.log.has(t, "terminated again")
	requireFile(t, s.stopped, "stopping\ncontext canceled\n")
	require.FileExists(t, s.closed)
}

// A backend that does not hear that its time is over is closed all the same.
func TestStopThatHangs(t *testing.T) {
	t.Parallel()
	s := openStopping(t, "deaf", "1ms")
	require.ErrorContains(t, s.Close(), "the backend did not stop within 5s")
	requireFile(t, s.stopped, "stopping\n")
	require.FileExists(t, s.closed)
}

// SIGTERM stops a plugin as its host would, once the host had time to end first: what
// it still has to do it can.
func TestStopWhenSignalled(t *testing.T) {
	s := openStopping(t, "pass", "1m")
	require.NoError(t, syscall.Kill(s.PID(), syscall.SIGTERM))
	s.log.has(t, "terminated: waiting for the host to end first")
	_, err := s.Put(t.Context(), "k", nil, backend.PutOptions{})
	require.NoError(t, err)
	require.NoFileExists(t, s.stopped)
	require.NoError(t, syscall.Kill(s.PID(), syscall.SIGTERM))
	<-s.Done()
	requireFile(t, s.stopped, "stopping\nstopped\n")
	require.FileExists(t, s.closed)
	require.NoError(t, s.Close())
}

// A host that goes on is waited for no longer than ten seconds.
func TestStopWithoutTheHost(t *testing.T) {
	t.Parallel()
	s := openStopping(t, "pass", "1m")
	begun := time.Now()
	require.NoError(t, syscall.Kill(s.PID(), syscall.SIGTERM))
	<-s.Done()
	require.GreaterOrEqual(t, time.Since(begun), 10*time.Second)
	s.log.has(t, "terminated: the host goes on; closing the backend")
	requireFile(t, s.stopped, "stopping\nstopped\n")
	require.FileExists(t, s.closed)
	require.NoError(t, s.Close())
}

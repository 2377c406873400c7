package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// crashing makes the test binary a program that starts a process and is killed.
const crashing = "PROCESS_TEST_CRASHING"

func TestMain(m *testing.M) {
	if os.Getenv(crashing) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	p, err := Start(Config{Path: "/bin/sleep", Args: []string{"300"}, Out: io.Discard})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(p.PID())
	<-p.Done()
}

// gone reports that a process has ended; one that nobody has waited for yet is
// gone, too.
func gone(pid int) error {
	if s, err := ReadStat(fmt.Sprint("/proc/", pid)); err == nil && s.State != 'Z' {
		return fmt.Errorf("process %d is in state %c", pid, s.State)
	}
	return nil
}

// requireGone waits until a process is gone.
func requireGone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool { return gone(pid) == nil }, 2*KillPatience, KillPatience/100)
}

func TestWatchdog(t *testing.T) {
	program := exec.Command(os.Args[0])
	program.Env = append(os.Environ(), crashing+"=1")
	stdout, err := program.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, program.Start())
	var pid int
	_, err = fmt.Fscan(stdout, &pid)
	require.NoError(t, err)
	require.Error(t, gone(pid), "it runs as long as the program does")

	require.NoError(t, program.Process.Kill())
	require.Error(t, program.Wait())
	requireGone(t, pid)
}

// first sends the first number that is written to it.
type first chan int

func (f first) Write(p []byte) (int, error) {
	pid, err := strconv.Atoi(strings.TrimSpace(string(p)))
	if err != nil {
		return 0, errors.New("no number")
	}
	f <- pid
	return len(p), nil
}

// When the program that started a process is gone, its children go as well, and so
// they do when it is closed.
func TestChildren(t *testing.T) {
	for name, end := range map[string]func(p *Process) error{
		"the program is gone": func(p *Process) error { return p.leash.Close() },
		"closed":              func(p *Process) error { return p.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			child := make(first, 1)
			p, err := Start(Config{Path: "/bin/sh", Args: []string{"-c", "sleep 1000 >/dev/null & echo $!; wait"}, Out: child, Children: true})
			require.NoError(t, err)
			defer func() { require.NoError(t, p.Close()) }()
			pid := <-child
			require.Error(t, gone(pid))
			require.NoError(t, end(p))
			require.NoError(t, p.Await(KillPatience))
			require.True(t, p.Killed())
			requireGone(t, pid)
		})
	}
}

package fleet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/chord-plugin/chord-plugin/integration/process"
)

// stopPatience is how long a process may take to end after SIGTERM.
const stopPatience = 30 * time.Second

// startProcess starts a program, which may have children, that says what it says into a
// file.
func startProcess(path string, args, env []string, logFile string) (_ *process.Process, err error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return process.Start(process.Config{Path: path, Args: args, Env: env, Out: out, Children: true})
}

// children returns the process IDs of the children of a process.
func children(pid int) ([]int, error) {
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(pid)).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil, nil // it has none
	} else if err != nil {
		return nil, fmt.Errorf("the children of process %d: %w", pid, err)
	}
	var pids []int
	for _, field := range strings.Fields(string(out)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("the children of process %d: %w", pid, err)
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// gone reports whether there is no process with this ID.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

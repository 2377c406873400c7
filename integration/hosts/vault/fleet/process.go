package fleet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// stopPatience is how long a process may take to end after SIGTERM.
	stopPatience = 30 * time.Second
	// killPatience is how long a process may take to end after SIGKILL.
	killPatience = 5 * time.Second
)

// watchdogScript kills a process group when the program that started it is gone: the
// standard input ends then. It ignores what a terminal sends to everybody.
const watchdogScript = `trap "" HUP INT QUIT TERM; read -r _; kill -9 "-$1"`

// process is one run of a program, the leader of a process group, in which its children
// are, too.
type process struct {
	cmd      *exec.Cmd
	watchdog *exec.Cmd
	leash    io.Closer     // the watchdog's standard input
	done     chan struct{} // closed when the process has been waited for
	err      error         // why it ended; may be read after done
}

// startProcess starts a program that says what it says into a file.
func startProcess(path string, args, env []string, logFile string) (_ *process, err error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.watch(); err != nil {
		_ = p.signalGroup(syscall.SIGKILL) // the error of watch is the one to report
		_ = p.cmd.Wait()
		return nil, fmt.Errorf("watchdog of process %d: %w", p.pid(), err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

func (p *process) watch() error {
	p.watchdog = exec.Command("/bin/sh", "-c", watchdogScript, "watchdog", strconv.Itoa(p.pid()))
	p.watchdog.Env = []string{}
	p.watchdog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	leash, err := p.watchdog.StdinPipe()
	if err != nil {
		return err
	}
	p.leash = leash
	return p.watchdog.Start()
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// signal sends a signal to the process alone. That it is gone already is no error.
func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to process %d: %w", s, p.pid(), err)
	}
	return nil
}

// signalGroup sends a signal to the process and its children. That they are gone
// already is no error.
func (p *process) signalGroup(s syscall.Signal) error {
	if err := syscall.Kill(-p.pid(), s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to the process group %d: %w", s, p.pid(), err)
	}
	return nil
}

// await waits until the process has ended.
func (p *process) await(patience time.Duration) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.done:
		return nil
	case <-late.C:
		return fmt.Errorf("process %d has not ended within %v", p.pid(), patience)
	}
}

// close kills what is left of the process group, and ends the watchdog.
func (p *process) close() error {
	err := errors.Join(p.signalGroup(syscall.SIGKILL), p.await(killPatience))
	_ = p.watchdog.Process.Kill() // it ends by a signal, so its own error says nothing
	_ = p.watchdog.Wait()
	_ = p.leash.Close()
	return err
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

package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

const (
	// stopPatience is how long a process may take to end after SIGTERM.
	stopPatience = 10 * time.Second
	// killPatience is how long a process may take to end after SIGKILL.
	killPatience = 5 * time.Second
)

// watchdogScript kills a process when the program that started both is gone: the
// standard input ends then. It ignores what a terminal sends to everybody.
const watchdogScript = `trap "" HUP INT QUIT TERM; read -r _; kill -9 "$1"`

// process is one run of an agent.
type process struct {
	cmd      *exec.Cmd
	watchdog *exec.Cmd
	leash    io.Closer     // the watchdog's standard input
	done     chan struct{} // closed when the process has been waited for
	err      error         // why it ended; may be read after done
	asked    bool          // we told it to end
}

// startProcess starts a binary with a watchdog.
func startProcess(path string, args, env []string, out io.Writer) (_ *process, err error) {
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, out, out
	p.cmd.WaitDelay = killPatience
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to handle
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.watch(); err != nil {
		_ = p.cmd.Process.Kill() // the error of watch is the one to report
		_ = p.cmd.Wait()
		return nil, fmt.Errorf("watchdog of process %d: %w", p.pid(), err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
		// It ends by a signal, so its own error says nothing.
		_ = p.watchdog.Process.Kill()
		_ = p.watchdog.Wait()
		_ = p.leash.Close()
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

// killed reports that SIGKILL ended the process, which we or somebody else sent.
func (p *process) killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// signal sends a signal. That the process is gone already is no error.
func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to process %d: %w", s, p.pid(), err)
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

// kill ends the process with SIGKILL and waits for it.
func (p *process) kill() error {
	p.asked = true
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	return p.await(killPatience)
}

// stop ends the process with SIGTERM and waits for it. It fails when the process
// does not end in time or ends with another status than 0.
func (p *process) stop() error {
	p.asked = true
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.await(stopPatience); err != nil {
		return errors.Join(err, p.kill())
	}
	if p.err != nil {
		return fmt.Errorf("process %d did not stop cleanly: %w", p.pid(), p.err)
	}
	return nil
}

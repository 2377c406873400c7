// Package process runs programs for tests and demonstrations, each with a watchdog that
// kills it when the program that started it is gone, however that ended.
package process

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

// KillPatience is how long a process may take to end after SIGKILL.
const KillPatience = 5 * time.Second

// watchdogScript kills a process, or with a negative number a process group, when the
// program that started both is gone: the standard input ends then. It ignores what a
// terminal sends to everybody.
const watchdogScript = `trap "" HUP INT QUIT TERM; read -r _; kill -9 "$1"`

// Config says what to start.
type Config struct {
	// Path is the program's, Args are its arguments without its name, and Env is all of
	// its environment.
	Path string
	Args []string
	Env  []string
	// Out gets its standard output and error.
	Out io.Writer
	// Children tells that it starts others, which may outlive it: then the watchdog and
	// Close kill those, too.
	Children bool
}

// Process is one run of a program. It leads a process group, in which its children are,
// too, so that a Ctrl-C does not reach it.
type Process struct {
	cmd      *exec.Cmd
	children bool
	watchdog *exec.Cmd
	leash    io.Closer     // the watchdog's standard input
	done     chan struct{} // closed when the process has been waited for
	err      error         // why it ended; may be read after done
}

// Start starts a program and its watchdog. One with children must be closed.
func Start(cfg Config) (*Process, error) {
	p := &Process{cmd: exec.Command(cfg.Path, cfg.Args...), children: cfg.Children, done: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = cfg.Env, cfg.Out, cfg.Out
	p.cmd.WaitDelay = KillPatience
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.watch(); err != nil {
		_ = syscall.Kill(p.all(), syscall.SIGKILL) // the error of watch is the one to report
		_ = p.cmd.Wait()
		return nil, fmt.Errorf("watchdog of process %d: %w", p.PID(), err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
		if !p.children {
			p.release()
		}
	}()
	return p, nil
}

// all is whom to kill: the process, or its group as a negative number.
func (p *Process) all() int {
	if p.children {
		return -p.PID()
	}
	return p.PID()
}

func (p *Process) watch() error {
	p.watchdog = exec.Command("/bin/sh", "-c", watchdogScript, "watchdog", strconv.Itoa(p.all()))
	p.watchdog.Env = []string{}
	p.watchdog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	leash, err := p.watchdog.StdinPipe()
	if err != nil {
		return err
	}
	p.leash = leash
	return p.watchdog.Start()
}

// release ends the watchdog, by a signal, so that its own error says nothing.
func (p *Process) release() {
	_ = p.watchdog.Process.Kill()
	_ = p.watchdog.Wait()
	_ = p.leash.Close()
}

// PID returns the ID of the process, which is that of its group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Err returns why the process has ended, nil for status 0. It must have ended.
func (p *Process) Err() error { return p.err }

// Killed reports that SIGKILL ended the process, whoever sent it. It must have ended.
func (p *Process) Killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Signal sends a signal to the process alone. That it is gone already is no error.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to process %d: %w", s, p.PID(), err)
	}
	return nil
}

// SignalGroup sends a signal to the process and its children. That they are gone
// already is no error.
func (p *Process) SignalGroup(s syscall.Signal) error {
	if err := syscall.Kill(-p.PID(), s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to the process group %d: %w", s, p.PID(), err)
	}
	return nil
}

// Freeze stops the process, with or without its children, and waits until all of it
// stands still: connections stay open, and nothing answers.
func (p *Process) Freeze(children bool) error {
	if children {
		return Freeze(-p.PID())
	}
	return Freeze(p.PID())
}

// Await waits until the process has ended, for no longer than patience.
func (p *Process) Await(patience time.Duration) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.done:
		return nil
	case <-late.C:
		return fmt.Errorf("process %d has not ended within %v", p.PID(), patience)
	}
}

// Close kills what is left of a process with children, and ends its watchdog.
func (p *Process) Close() error {
	err := errors.Join(p.SignalGroup(syscall.SIGKILL), p.Await(KillPatience))
	p.release()
	return err
}

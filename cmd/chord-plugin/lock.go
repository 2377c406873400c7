package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

const (
	// lockWait is how long the lock command waits for the lock.
	lockWait = 24 * time.Hour
	// killAfter is how long a command has to end when the lock is lost.
	killAfter = 5 * time.Second
	// exitSignalled is added to the number of the signal that ended a command, as
	// shells do.
	exitSignalled = 128
)

func newLock(s *streams) *command {
	c := newCommand(s, "lock", "KEY -- COMMAND [ARGUMENT]...", "runs a command while it holds a lock")
	c.text = `It waits until KEY is free, takes it with a session of its own, runs the command
and releases KEY. The exit code is the command's, or 128 and the number of the
signal that ended it.

When the lock is lost, the command gets SIGTERM, and SIGKILL if it has not ended
after -kill-after; the exit code is 1. So it does when this program is told to
stop, or its terminal is closed; then the exit code is the command's. On Linux it
gets SIGTERM also when this program is killed. Processes that the command has
started are its own to end.

A lock stores -value at KEY, over what is there. Without -value a KEY that holds a
value or flags is refused, unless it was a lock before.

The command finds CHORD_LOCK_KEY, CHORD_LOCK_SESSION and CHORD_LOCK_TOKEN in its
environment. Whoever must not write without the lock, also when this program is
killed or stopped, asks for -fence and writes with the key and the token as a
fence.`
	c.least, c.most, c.launches = 2, 1<<20, true
	a := silentFlagsFor(s, c.flags, lockWait, "give up when the lock is not free after this `DURATION`. Default: "+lockWait.String())
	f := c.sessionFlags(backend.DefaultLockTTL, "the `DURATION` after which others may have the lock when this program has died: 10s to 24h. Default: "+backend.DefaultLockTTL.String())
	value := c.flags.String("value", "", "a `TEXT` to store at KEY, for others to see who holds it")
	fence := c.flags.Bool("fence", false, "before the command starts, shut out writes with the fence of former holders")
	patience := c.flags.Duration("kill-after", killAfter, "the `DURATION` that the command has to end. Default: "+killAfter.String())
	c.run = func(ctx context.Context, args []string) error {
		opts, err := f.options()
		if err != nil {
			return err
		}
		if opts.TTL == 0 {
			return usagef("-ttl: it is 0s; allowed is %v to %v", backend.MinTTL, backend.MaxTTL)
		}
		if *patience <= 0 {
			return usagef("-kill-after: it is %v; allowed is more than 0s", *patience)
		}
		program, err := exec.LookPath(args[1])
		if err != nil {
			return usagef("the command %q can not be run: %w", args[1], err)
		}
		return a.with(func(agent *httpapi.Client) error {
			l, err := each(ctx, a, func(ctx context.Context) (backend.Lock, error) {
				if len(c.given("value")) == 0 {
					if err := c.makeLock(ctx, agent, args[0]); err != nil {
						return nil, err
					}
				}
				return agent.Lock(ctx, backend.LockOptions{Key: args[0], Value: []byte(*value), Own: opts})
			})
			if err != nil {
				return err
			}
			h := &holding{command: c, lock: l, patience: *patience}
			if *fence {
				err = h.bounded(func(ctx context.Context) error { return agent.Fence(ctx, backend.FenceOf(l)) })
			}
			if err == nil {
				err = h.runLocked(ctx, program, args[1:])
			}
			if errors.Is(err, backend.ErrLockLost) {
				// The session may live, and would delay others.
				_ = h.bounded(func(ctx context.Context) error { return agent.DestroySession(ctx, l.Session()) })
				return err
			}
			return h.release(err)
		})
	}
	return c
}

// makeLock lets a key have been a lock, if it was none before and nothing is lost by
// that: taking the lock overwrites what is there, and what others put there before
// it is a lock must not go with it.
func (c *command) makeLock(ctx context.Context, agent *httpapi.Client, key string) error {
	for {
		e, err := agent.Get(ctx, key, backend.GetOptions{})
		unchanged := backend.TxnOp{Verb: backend.VerbCheckNotExists, Key: key}
		switch {
		case err != nil:
			return err
		case e == nil:
		case e.LockIndex > 0:
			return nil
		case len(e.Value) > 0 || e.Flags > 0:
			return fmt.Errorf("%q has a value or flags and was never a lock, which would overwrite them; take another key, or say what to store with -value", key)
		default:
			unchanged = backend.TxnOp{Verb: backend.VerbCheckIndex, Key: key, Index: e.ModifyIndex}
		}
		s, err := agent.CreateSession(ctx, backend.SessionOptions{TTL: backend.MinTTL, LockDelay: backend.NoLockDelay})
		if err != nil {
			return err
		}
		_, err = agent.Txn(ctx, []backend.TxnOp{
			unchanged, {Verb: backend.VerbLock, Key: key, Session: s.ID}, {Verb: backend.VerbUnlock, Key: key, Session: s.ID},
		})
		// If it is not destroyed it expires, and holds nothing.
		_ = c.bounded(func(ctx context.Context) error { return agent.DestroySession(ctx, s.ID) })
		switch backend.CodeOf(err) {
		case backend.Conflict, backend.TxnConflict, backend.UnknownOutcome: // look again
		default:
			return err
		}
	}
}

// holding is a lock and the command that runs under it.
type holding struct {
	*command
	lock     backend.Lock
	patience time.Duration
}

// bounded calls f within the time that a command usually waits for the agent, also
// when this program was told to stop.
func (c *command) bounded(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), defaultTimeout)
	defer cancel()
	return f(ctx)
}

// runLocked runs the program with args, the first of which is its name, and ends it
// when the lock is lost or ctx ends. It returns the exit code unless that is 0.
func (h *holding) runLocked(ctx context.Context, program string, args []string) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	cmd := exec.CommandContext(ctx, program, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = h.stdin, h.stdout, h.stderr
	cmd.Env = append(cmd.Environ(), "CHORD_LOCK_KEY="+h.lock.Key(), "CHORD_LOCK_SESSION="+h.lock.Session(), "CHORD_LOCK_TOKEN="+strconv.FormatUint(h.lock.Token(), 10))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = h.patience
	endOrphan(cmd)
	started, waited := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // see endOrphan
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if started <- err; err == nil {
			waited <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start the command: %w", err)
	}
	lost := false
	var err error
	select {
	case err = <-waited:
	case <-h.lock.Lost():
		lost = true
		end()
		err = <-waited
	}
	status, known := cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case lost:
		return backend.Errorf(backend.LockLost, h.lock.Key(), "the lock was lost, and the command was ended")
	case cmd.ProcessState.Success() && (err == nil || ctx.Err() != nil):
		return nil
	case known && status.Signaled():
		return exitCode(exitSignalled + int(status.Signal()))
	case cmd.ProcessState.ExitCode() > 0:
		return exitCode(cmd.ProcessState.ExitCode())
	}
	return fmt.Errorf("wait for the command: %w", err)
}

// release releases the lock after err.
func (h *holding) release(err error) error {
	switch unlocked := h.bounded(h.lock.Unlock); {
	case errors.Is(unlocked, backend.ErrLockLost):
		return backend.Errorf(backend.LockLost, h.lock.Key(), "the lock was lost before the command had ended")
	case unlocked != nil:
		fmt.Fprintf(h.stderr, "chord-plugin %s: %v; the lock is free when its session has expired\n", h.name, unlocked)
	}
	return err
}

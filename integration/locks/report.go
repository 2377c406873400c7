package locks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/judge"
)

const (
	// endPatience is how much longer than a TTL and a lock delay a lock may stay
	// locked whose holder is gone.
	endPatience = 10 * time.Second
	// maxProblems bounds what Judge shows.
	maxProblems = 10
)

// Report is what happened.
type Report struct {
	// Ended is when the clients were told to stop.
	Ended time.Duration

	locks *Locks
}

// Stop ends the clients, lets what is under way come to its end, and returns what
// happened.
func (l *Locks) Stop() *Report {
	ended := l.Now()
	l.Crew.Stop()
	return &Report{Ended: ended, locks: l}
}

// String counts what happened.
func (r *Report) String() string {
	n := r.locks.count
	return fmt.Sprintf("%d locks were taken in %.1f s, after %.1f s at most; %d were unlocked, the sessions of %d destroyed, %d holders vanished and %d froze; %d fences; %d writes under a lost lock, of which %d were refused",
		n.taken, r.Ended.Seconds(), n.wait.Seconds(), n.unlocked, n.destroyed, n.vanished, n.frozen, n.fences, n.stale, n.refused)
}

// Judge takes each lock at each of the given targets, reads all ledgers there, and
// returns why what was seen then and before cannot be. All targets must serve.
func (r *Report) Judge(ctx context.Context, targets ...crew.Target) error {
	l := r.locks
	var problems []string
	for lock := range l.cfg.Locks {
		wait := l.cfg.TTL + l.cfg.TTL/64 + l.cfg.Delay + endPatience
		for _, at := range targets {
			if err := l.cycle(ctx, lock, at, wait); err != nil {
				problems = append(problems, err.Error())
			}
			wait = endPatience // who was gone is forgotten now
			for n := range l.cfg.Ledger {
				if err := l.read(at, ledgerKey(lock, n)); err != nil {
					problems = append(problems, fmt.Sprintf("in the end a get of %q at %s: %v", ledgerKey(lock, n), at.Name, err))
				}
			}
		}
	}
	problems = append(problems, l.Wrong()...)
	if over := len(problems) - maxProblems; over > 0 {
		problems = append(problems[:maxProblems], fmt.Sprintf("and %d more", over))
	}
	if err := judge.Check(l.history.Operations()); err != nil {
		problems = append(problems, err.Error())
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "\n"))
	}
	return nil
}

// cycle takes a lock and gives it back.
func (l *Locks) cycle(ctx context.Context, lock int, at crew.Target, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	begun := l.Now()
	held, err := at.Backend.(backend.Locker).Lock(ctx, backend.LockOptions{Key: lockKey(lock), Own: backend.SessionOptions{TTL: l.cfg.TTL}})
	if err != nil {
		return fmt.Errorf("in the end lock %d at %s was not to be had in %v: %w", lock, at.Name, wait, err)
	}
	h := &hold{Lock: held, lock: lock, client: l.cfg.Clients, member: at.Name, at: l.Now()}
	l.took(h, h.at-begun)
	l.gives(h)
	if err := held.Unlock(ctx); err != nil {
		return fmt.Errorf("in the end lock %d at %s was not to be released: %w", lock, at.Name, err)
	}
	return nil
}

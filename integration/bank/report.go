package bank

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
)

// Report is what happened in a bank.
type Report struct {
	// Ended is when the bank was told to stop.
	Ended time.Duration
	// Transfers counts the transfers that happened, Attempts all.
	Transfers, Attempts int
	// Snapshots counts the snapshots that were taken.
	Snapshots int
	// Shifts counts the doctors that came or went.
	Shifts int
	// Pause is the longest time in which no transfer happened, PauseFrom its
	// beginning.
	Pause, PauseFrom time.Duration

	bank *Bank
}

// Stop ends the bank, lets what is under way come to its end, and returns what
// happened.
func (b *Bank) Stop() *Report {
	ended := b.Now()
	b.Crew.Stop()
	r := &Report{Ended: ended, Snapshots: len(b.snapshots), Shifts: b.shifts, bank: b}
	k := b.books()
	for teller := range k.done {
		r.Transfers += len(k.done[teller])
		r.Attempts += len(b.tellers[teller].book)
	}
	r.Pause, r.PauseFrom = k.longestPause(ended)
	return r
}

// String counts what happened.
func (r *Report) String() string {
	return fmt.Sprintf("%d of %d transfers happened in %.1f s, none for %d ms from %.1f s on; %d snapshots; doctors came or went %d times and were looked at %d times",
		r.Transfers, r.Attempts, r.Ended.Seconds(), r.Pause.Milliseconds(), r.PauseFrom.Seconds(), r.Snapshots, r.Shifts, r.bank.watched)
}

// endPatience bounds what Judge does at a target: a transaction that nobody ends any
// more may be in the way for 5 s.
const endPatience = 15 * time.Second

// maxProblems bounds what Judge shows of a kind.
const maxProblems = 10

func some(problems []string) []string {
	if over := len(problems) - maxProblems; over > 0 {
		return append(problems[:maxProblems:maxProblems], fmt.Sprintf("and %d more", over))
	}
	return problems
}

// Judge finds out what is in doubt, reads everything at each of the given targets
// in each way, writes everything at each of them, and returns why what was seen
// then and before cannot be. All targets must serve.
func (r *Report) Judge(ctx context.Context, targets ...crew.Target) error {
	b := r.bank
	for _, t := range b.tellers {
		if len(t.book) == 0 {
			continue
		}
		x := t.book[len(t.book)-1]
		for i := 0; x.outcome == doubtful; i++ {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("teller %d does not find out about %v: %w", t.id, x, err)
			}
			t.settleAt(targets[i%len(targets)], x)
		}
	}
	snapshots := b.snapshots
	var problems []string
	for _, at := range targets {
		ending, cancel := context.WithTimeout(ctx, endPatience)
		for _, way := range views {
			if err := patiently(ending, "a "+way.name+" at "+at.Name, func(context.Context) error {
				s, err := b.look(at, way)
				if err == nil {
					snapshots = append(snapshots, s)
				}
				return err
			}); err != nil {
				problems = append(problems, "in the end "+err.Error())
			}
		}
		b.watch(at, views[0])
		if err := b.Touch(ending, at); err != nil {
			problems = append(problems, "in the end "+err.Error())
		}
		cancel()
	}
	problems = slices.Concat(some(problems), some(b.Wrong()), some(b.books().checkAll(snapshots)))
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "\n"))
	}
	return nil
}

// Touch writes each account that there is and checks each that is not, in one
// transaction at one target, as often as it takes: the error says that it did not
// succeed before ctx ended.
func (b *Bank) Touch(ctx context.Context, at crew.Target) error {
	return patiently(ctx, "a transaction of all accounts at "+at.Name, func(ctx context.Context) error { return b.touch(ctx, at) })
}

// patiently does something as often as it takes.
func patiently(ctx context.Context, what string, do func(context.Context) error) error {
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; the last time: %w", what, ctx.Err(), err)
		case <-time.After(retryPause):
		}
	}
}

func (b *Bank) touch(ctx context.Context, at crew.Target) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	page, err := at.Backend.List(ctx, backend.ListQuery{Prefix: bankPrefix, Values: true})
	if err != nil {
		return err
	}
	there := map[string]*backend.Entry{}
	for _, e := range entriesOf(page) {
		there[e.Key] = e
	}
	var ops []backend.TxnOp
	for _, name := range b.names {
		op := backend.TxnOp{Verb: backend.VerbCheckNotExists, Key: name}
		if e := there[name]; e != nil {
			op = backend.TxnOp{Verb: backend.VerbCAS, Key: name, Value: e.Value, Index: e.ModifyIndex}
		}
		ops = append(ops, op)
	}
	_, err = transactional(at).Txn(ctx, ops)
	return err
}

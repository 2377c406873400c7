package load

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/judge"
)

// Report is what happened.
type Report struct {
	// Operations are what the clients did and saw, in the order of the ends.
	Operations []judge.Operation
	// Members are the names of the targets.
	Members []string
	// Ended is when the clients were told to stop.
	Ended time.Duration
	// Lists are the listings that were answered.
	Lists []List
	// Wrong is what must not happen and did, in words.
	Wrong []string

	load *Load
}

// List is a listing that was answered.
type List struct {
	Member string
	Took   time.Duration
}

// SlowestList returns how long the slowest listing at the given members took.
func (r *Report) SlowestList(members ...string) (slowest time.Duration) {
	for _, l := range r.Lists {
		if slices.Contains(members, l.Member) {
			slowest = max(slowest, l.Took)
		}
	}
	return slowest
}

// Gap is a time in which no write at a member succeeded.
type Gap struct {
	Member     string
	Begin, End time.Duration
}

// Length is how long the gap is.
func (g Gap) Length() time.Duration { return g.End - g.Begin }

// String returns the gap in words.
func (g Gap) String() string {
	return fmt.Sprintf("%d ms at %s", g.Length().Milliseconds(), g.Member)
}

// Gap returns the longest time between two writes in a row that succeeded at a
// member, from one time of the load to another. It counts those times as writes.
func (r *Report) Gap(member string, from, to time.Duration) Gap {
	longest, last := Gap{Member: member, Begin: from, End: from}, from
	note := func(at time.Duration) {
		if at-last > longest.Length() {
			longest.Begin, longest.End = last, at
		}
		last = at
	}
	for _, o := range r.Operations {
		if o.Member == member && isWrite(o) && o.Return >= from && o.Return <= to {
			note(o.Return)
		}
	}
	note(to)
	return longest
}

// isWrite reports whether an operation is a write that succeeded.
func isWrite(o judge.Operation) bool { return o.Outcome == judge.Done && o.Kind != judge.Get }

// Writes counts the writes that succeeded at a member, from one time to another.
func (r *Report) Writes(member string, from, to time.Duration) int {
	n := 0
	for _, o := range r.Operations {
		if o.Member == member && isWrite(o) && o.Return >= from && o.Return <= to {
			n++
		}
	}
	return n
}

// Slowest returns the operation that took longest of those that were done at
// the given members.
func (r *Report) Slowest(members ...string) (slowest judge.Operation) {
	for _, o := range r.Operations {
		if o.Outcome == judge.Done && slices.Contains(members, o.Member) && o.Return-o.Call > slowest.Return-slowest.Call {
			slowest = o
		}
	}
	return slowest
}

// String counts the operations by their outcome.
func (r *Report) String() string {
	count := map[judge.Outcome]int{}
	for _, o := range r.Operations {
		count[o.Outcome]++
	}
	return fmt.Sprintf("%d operations in %.1f s: %d done, %d refused, %d unknown, %d failed; %d lists",
		len(r.Operations), r.Ended.Seconds(), count[judge.Done], count[judge.Refused], count[judge.Unknown], count[judge.Nothing], len(r.Lists))
}

// Acknowledged counts the keys of the ledger that were acknowledged
// and are there still.
func (r *Report) Acknowledged() int { return r.count(held) }

// Deleted counts the keys of the ledger whose deletion was acknowledged.
func (r *Report) Deleted() int { return r.count(gone) }

func (r *Report) count(state entryState) (n int) {
	for _, e := range r.load.ledger.look() {
		if e.state == state {
			n++
		}
	}
	return n
}

const (
	// readers read back at a time.
	readers = 8
	// maxProblems bounds what Judge shows of one kind.
	maxProblems = 10
)

// Judge reads every key back, the shared ones at each of the given targets, and
// returns why what was seen then and before cannot be: a write that was
// acknowledged and is gone, a history that has no order, an error that must not
// come. All given targets must serve.
func (r *Report) Judge(ctx context.Context, targets ...crew.Target) error {
	var problems []string
	ledger := r.load.ledger.look()
	reads := make(chan judge.Operation)
	ops := slices.Clone(r.Operations)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			for o := range reads {
				o.Client = len(r.load.Targets())*r.load.cfg.Clients + i
				err := r.readBack(ctx, targets, &o)
				mu.Lock()
				ops = append(ops, o)
				want := ledger[o.Key]
				switch {
				case err != nil:
					problems = append(problems, fmt.Sprintf("read %q back at %s: %v", o.Key, o.Member, err))
				case want.state == gone && o.Value != "":
					problems = append(problems, fmt.Sprintf("CAME BACK: the deletion of %q was acknowledged at %v, and it is %q at %s", o.Key, want.at, o.Value, o.Member))
				case want.state == held && o.Value != want.value:
					problems = append(problems, fmt.Sprintf("LOST: %q was acknowledged at %v as %q and is %q at %s", o.Key, want.at, want.value, o.Value, o.Member))
				}
				mu.Unlock()
			}
		})
	}
	n := 0
	for key := range ledger {
		reads <- judge.Operation{Kind: judge.Get, Key: key, Member: targets[n%len(targets)].Name}
		n++
	}
	for generation := range r.load.generationsUntil(r.Ended) {
		for key := range r.load.cfg.Keys {
			for _, t := range targets {
				reads <- judge.Operation{Kind: judge.Get, Key: r.load.sharedKey(generation, key), Member: t.Name}
			}
		}
	}
	close(reads)
	wg.Wait()
	problems = append(problems, r.Wrong...)
	if over := len(problems) - maxProblems; over > 0 {
		problems = append(problems[:maxProblems], fmt.Sprintf("and %d more", over))
	}
	if err := judge.Check(ops); err != nil {
		problems = append(problems, err.Error())
	}
	if len(problems) > 0 {
		return fmt.Errorf("%s", strings.Join(problems, "\n"))
	}
	return nil
}

// readBack reads a key at the target that the operation names.
func (r *Report) readBack(ctx context.Context, targets []crew.Target, o *judge.Operation) error {
	i := slices.IndexFunc(targets, func(t crew.Target) bool { return t.Name == o.Member })
	ctx, cancel := context.WithTimeout(ctx, r.load.cfg.Timeout)
	defer cancel()
	o.Call = r.load.Now()
	e, err := targets[i].Backend.Get(ctx, o.Key, backend.GetOptions{})
	o.Return, o.Outcome = r.load.Now(), judge.Done
	if err != nil {
		o.Outcome, o.Err = judge.Nothing, err.Error()
		return err
	}
	if e != nil {
		o.Value, o.Index = string(e.Value), e.ModifyIndex
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

func newRing(s *streams) *command {
	c := newCommand(s, "ring", "", "shows who owns the keys, and how far a change of that is")
	c.text = `SHARE is the part of all copies that a member keeps; while the ring changes, that
which it will keep. CHANGE says who joins and who leaves then, and SYNC how far
a member is in copying what it is to own.

A ring is final, or joint: then a change is under way, and each key is in the
care of its old and its new owners.`
	a := askingFlagsFor(s, c.flags, defaultTimeout, "give up when the agent has not answered for this `DURATION`. Default: "+defaultTimeout.String())
	watch := c.flags.Bool("watch", false, "show it again every second until it is final")
	c.run = func(ctx context.Context, _ []string) error {
		return a.with(func(agent *httpapi.Client) error {
			if *watch {
				return a.watchRing(ctx, agent)
			}
			ring, err := each(ctx, a, agent.Ring)
			if err != nil {
				return err
			}
			return a.printRing(ring)
		})
	}
	return c
}

// watchRing prints the ring until it is final.
func (a *asking) watchRing(ctx context.Context, agent *httpapi.Client) error {
	over := terminal(a.stdout) && !a.json
	first := true
	_, err := a.await(ctx, agent, time.Time{}, func(ring *backend.Ring) (bool, error) {
		switch {
		case over: // home, and clear what is below
			if _, err := io.WriteString(a.stdout, "\x1b[H\x1b[J"); err != nil {
				return false, err
			}
		case !first && !a.json:
			if _, err := fmt.Fprintln(a.stdout); err != nil {
				return false, err
			}
		}
		first = false
		return !ring.Joint, a.printRing(ring)
	})
	return err
}

// await looks at the ring every second until f returns true or an error, and
// returns what it saw last. An agent that does not answer is an error only when
// it has not for the whole time-out; answered is when it did so last.
func (a *asking) await(ctx context.Context, agent *httpapi.Client, answered time.Time, f func(*backend.Ring) (bool, error)) (*backend.Ring, error) {
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for {
		ring, err := each(ctx, a, agent.Ring)
		switch {
		case err == nil:
			answered = time.Now()
			if done, err := f(ring); done || err != nil {
				return ring, err
			}
		case ctx.Err() != nil:
			return nil, fmt.Errorf("interrupted; what has begun goes on: %w", err)
		case time.Since(answered) >= a.timeout || backend.CodeOf(err) == backend.Invalid:
			return nil, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("interrupted; what has begun goes on: %w", ctx.Err())
		}
	}
}

func (a *asking) printRing(ring *backend.Ring) error {
	if a.json {
		return printJSON(a.stdout, ring)
	}
	state := "final"
	if ring.Joint {
		state = "joint: a change is under way"
	}
	if _, err := fmt.Fprintf(a.stdout, "ring %s, epoch %d (%s), replicas %d\n", ring.RingID, ring.Epoch, state, ring.Replicas); err != nil {
		return err
	}
	if ring.Change != "" {
		if _, err := fmt.Fprintf(a.stdout, "change: %s\n", ring.Change); err != nil {
			return err
		}
	}
	head := []string{"NAME", "ID", "STATE", "MESH", "TOKENS", "SHARE"}
	if ring.Joint {
		head = append(head, "CHANGE", "SYNC")
	}
	rows := [][]string{head}
	for _, m := range ring.Members {
		row := []string{m.Name, shortID(m.ID), m.State, m.Addr, strconv.Itoa(m.Tokens), percent(m.Share)}
		if ring.Joint {
			row = append(row, m.Change, syncText(m))
		}
		rows = append(rows, row)
	}
	if _, err := fmt.Fprintln(a.stdout); err != nil {
		return err
	}
	return printTable(a.stdout, rows)
}

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

func newLeave(s *streams) *command {
	c := newCommand(s, "leave", "", "takes the agent's member out of the ring and stops it")
	c.text = `The member gives away what it owns, which takes as long as there is data to copy;
meanwhile it serves, and standard error shows how far it is. Then the agent
stops, and empties its data directory. Whoever interrupts this command stops
waiting; the member goes on leaving.

A member that is only stopped, by a signal, keeps its place and its data. A dead
one is taken out by chord-plugin remove.`
	a := askingFlagsFor(s, c.flags, defaultTimeout, "give up when the agent does not answer at first for this `DURATION`. Default: "+defaultTimeout.String())
	c.run = func(ctx context.Context, _ []string) error {
		return a.with(func(agent *httpapi.Client) error {
			before, err := each(ctx, a, agent.Status)
			if err != nil {
				return err
			}
			if err := a.leave(ctx, agent); err != nil {
				return err
			}
			if a.json {
				return printJSON(c.stdout, map[string]any{"name": before.Name, "ring_id": before.RingID, "left": true})
			}
			_, err = fmt.Fprintf(c.stdout, "%q has left ring %s; its agent stops\n", before.Name, before.RingID)
			return err
		})
	}
	return c
}

// leave makes the agent leave and shows how far it is.
func (a *asking) leave(ctx context.Context, agent *httpapi.Client) error {
	watching, left := context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() {
		defer left()
		result <- agent.Leave(ctx)
	}()
	p := a.progress()
	_, err := a.await(watching, agent, time.Now(), func(ring *backend.Ring) (bool, error) {
		return false, p.show(time.Now(), changeText(ring))
	})
	if watching.Err() == nil {
		// Leaving goes on all the same, and its own answer counts.
		fmt.Fprintf(a.stderr, "how far it is can not be shown any more: %v\n", err)
	}
	err = <-result
	if cleared := p.end(); err == nil {
		err = cleared
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("interrupted; the member goes on leaving: %w", err)
	}
	return err
}

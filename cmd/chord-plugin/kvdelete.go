package main

import (
	"context"
	"fmt"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

func newDelete(s *streams) *command {
	c := newCommand(s, "kv delete", "KEY", "deletes a key")
	c.text = `Deleting a key that does not exist is no error.`
	c.least, c.most = 1, 1
	a := askingFlags(s, c.flags)
	var cas condition
	c.flags.Var(&cas, "cas", casUsage)
	c.run = func(ctx context.Context, args []string) error {
		return a.do(ctx, func(ctx context.Context, agent *httpapi.Client) error {
			err := agent.Delete(ctx, args[0], backend.DeleteOptions{If: cas.Condition})
			switch {
			case err != nil:
				return err
			case a.json:
				return printJSON(c.stdout, changed{Key: args[0]})
			}
			_, err = fmt.Fprintf(c.stdout, "deleted %q\n", args[0])
			return err
		})
	}
	return c
}

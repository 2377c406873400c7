package main

import (
	"context"
	"strings"

	"github.com/chord-plugin/chord-plugin/internal/agent"
)

func newKV(s *streams) *command {
	return newGroup(s, "kv", "reads and writes keys", "get", "put", "delete", "list")
}

// newGroup stands for the first word of commands without the second.
func newGroup(s *streams, name, synopsis string, names ...string) *command {
	c := newCommand(s, name, strings.Join(names, "|"), synopsis)
	c.least, c.most = 1, 1<<10
	c.run = func(_ context.Context, args []string) error {
		return usagef("there is no command %q; did you mean \"%s %s\"? Commands are %s", name+" "+args[0], name, agent.Nearest(args[0], names), strings.Join(names, ", "))
	}
	return c
}

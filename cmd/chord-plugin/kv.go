package main

import (
	"context"
	"strings"
)

// newKV stands for "kv" without a command of its own.
func newKV(s *streams) *command {
	names := []string{"get", "put", "delete", "list"}
	c := newCommand(s, "kv", "get|put|delete|list", "reads and writes keys")
	c.least, c.most = 1, 1<<10
	c.run = func(_ context.Context, args []string) error {
		return usagef("there is no command %q; did you mean \"kv %s\"? Commands are %s", "kv "+args[0], nearest(args[0], names), strings.Join(names, ", "))
	}
	return c
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/internal/agent"
)

// command is one command of the command line.
type command struct {
	*streams
	// name is what is typed, "kv get"; args are its arguments, for people.
	name, args string
	// synopsis is one line, text what else is to know.
	synopsis, text string
	// least and most bound the number of arguments.
	least, most int
	// launches says that the arguments are one, "--", and a command line with flags
	// of its own.
	launches bool
	flags    *flag.FlagSet
	run      func(ctx context.Context, args []string) error
}

func newCommand(s *streams, name, args, synopsis string) *command {
	c := &command{streams: s, name: name, args: args, synopsis: synopsis, flags: flag.NewFlagSet(name, flag.ContinueOnError)}
	c.flags.SetOutput(io.Discard) // errors are printed by Run
	return c
}

// usageError is an error of who typed the command, which ends with exitUsage.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// errNoKey and errNoSession end with exitNoKey.
var (
	errNoKey     = errors.New("there is no such key")
	errNoSession = errors.New("there is no such session")
)

// exitCode is the end of a command that passes on the code of another program,
// which has said itself what there is to say.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Run implements cli.Command.
func (c *command) Run(args []string) int {
	args, err := c.parse(args)
	if err == nil {
		err = c.run(c.ctx, args)
	}
	if err == nil {
		return exitDone
	}
	var passed exitCode
	if errors.As(err, &passed) {
		return int(passed)
	}
	fmt.Fprintf(c.stderr, "chord-plugin %s: %v\n", c.name, err)
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errNoKey), errors.Is(err, errNoSession):
		return exitNoKey
	}
	return exitFailed
}

// parse reads flags wherever they stand and returns the other arguments.
// Everything behind "--" is an argument.
func (c *command) parse(args []string) ([]string, error) {
	var rest []string
	before := 0 // so many arguments stand before "--"
	for len(args) > 0 {
		if err := c.flags.Parse(args); err != nil {
			return nil, usagef("%s\nUsage: %s", c.explainFlag(err), c.line())
		}
		left := c.flags.Args()
		if read := len(args) - len(left); len(left) == 0 || read > 0 && args[read-1] == "--" {
			before, rest = len(rest), append(rest, left...)
			break
		}
		if rest, args = append(rest, left[0]), left[1:]; c.launches && len(rest) > 1 {
			return nil, c.undashed()
		}
	}
	switch {
	case len(rest) < c.least:
		return nil, usagef("it needs %s\nUsage: %s", c.args, c.line())
	case len(rest) > c.most:
		return nil, usagef("%q is one argument too many\nUsage: %s", rest[c.most], c.line())
	case !c.launches || before == 1:
		return rest, nil
	case rest[1] == "--": // the first one is behind another, since it begins with a dash
		return slices.Delete(rest, 1, 2), nil
	}
	return nil, c.undashed()
}

// undashed is the error of a command line that could be taken for our own flags.
func (c *command) undashed() error {
	return usagef("the command stands behind --, and -- behind KEY\nUsage: %s", c.line())
}

// given returns which of the flags with these names were given, in their order.
func (c *command) given(names ...string) []string {
	set := map[string]bool{}
	c.flags.Visit(func(f *flag.Flag) { set[f.Name] = true })
	return slices.DeleteFunc(names, func(name string) bool { return !set[name] })
}

// explainFlag adds the nearest flag to the error about an unknown one.
func (c *command) explainFlag(err error) string {
	unknown, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		return err.Error()
	}
	var names []string
	c.flags.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	if len(names) == 0 {
		return fmt.Sprintf("there is no flag -%s", unknown)
	}
	return fmt.Sprintf("there is no flag -%s; did you mean -%s?", unknown, agent.Nearest(unknown, names))
}

func (c *command) line() string {
	line := "chord-plugin " + c.name
	flags := false
	c.flags.VisitAll(func(*flag.Flag) { flags = true })
	if flags {
		line += " [flags]"
	}
	if c.args != "" {
		line += " " + c.args
	}
	return line
}

// Synopsis implements cli.Command.
func (c *command) Synopsis() string { return c.synopsis }

// Help implements cli.Command.
func (c *command) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n%s.\n", c.line(), strings.ToUpper(c.synopsis[:1])+c.synopsis[1:])
	if c.text != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(c.text))
	}
	first := true
	c.flags.VisitAll(func(f *flag.Flag) {
		if first {
			b.WriteString("\nFlags, which may stand before or after the arguments:\n")
			first = false
		}
		kind, usage := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, "\n  %s\n", strings.TrimSpace("-"+f.Name+" "+kind))
		for line := range strings.Lines(strings.TrimPrefix(usage, kind+": ")) {
			fmt.Fprintf(&b, "        %s\n", strings.TrimSpace(line))
		}
	})
	return strings.TrimRight(b.String(), "\n")
}

// Command chord-plugin is a node of a ring that stores keys and values. A host
// application loads it as its storage plugin, or it runs by itself as an agent
// with an HTTP API; then it is also the command line of that agent.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/hashicorp/cli"

	"github.com/chord-plugin/chord-plugin/internal/agent"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitNoKey  = 3
)

func main() {
	tuneGC()
	if plugin.Launched() {
		os.Exit(servePlugin(os.Stderr))
	}
	ctx, end := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	hangups := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup does
		signal.Notify(hangups, syscall.SIGHUP)
	}
	go func() {
		select {
		case <-signals:
		case <-hangups: // more of them do nothing: shells repeat that of the terminal
		}
		// A further signal to stop ends the process, from before anybody can know of
		// the first.
		signal.Stop(signals)
		end()
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run carries out a command line and returns the exit code. It returns soon
// after ctx ends.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s := &streams{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, environ: os.Environ()}
	commands := s.commands()
	if len(args) == 0 {
		fmt.Fprintln(stderr, help(commands))
		return exitUsage
	}
	if wrong := unknownCommand(commands, args[0]); wrong != "" {
		fmt.Fprintf(stderr, "chord-plugin: %s\n", wrong)
		return exitUsage
	}
	c := &cli.CLI{
		Name: "chord-plugin", Version: versionText(), Args: args, Commands: commands,
		HelpFunc: func(map[string]cli.CommandFactory) string { return help(commands) }, HelpWriter: stdout, ErrorWriter: stderr,
	}
	code, err := c.Run()
	if err != nil {
		fmt.Fprintf(stderr, "chord-plugin: %v\n", err)
		return exitFailed
	}
	return code
}

// streams is what a command reads and writes.
type streams struct {
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
}

func (s *streams) commands() map[string]cli.CommandFactory {
	all := map[string]cli.CommandFactory{}
	for _, newOne := range []func(*streams) *command{
		newAgent, newKV, newGet, newPut, newDelete, newList, newTxn,
		newSession, newSessionCreate, newSessionRenew, newSessionDestroy, newSessionInfo, newSessionList, newLock,
		newMembers, newRing, newLocate, newStatus, newLeave, newRemove, newVerify, newImport, newExport, newKeygen, newVersion, newPlugin,
	} {
		c := newOne(s)
		all[c.name] = func() (cli.Command, error) { return c, nil }
	}
	return all
}

// unknownCommand says what is wrong with the first argument, or "".
func unknownCommand(commands map[string]cli.CommandFactory, first string) string {
	if slices.Contains([]string{"-h", "-help", "--help", "-v", "-version", "--version"}, first) {
		return ""
	}
	if strings.HasPrefix(first, "-") {
		return fmt.Sprintf("the flag %s stands before the command; put it behind, as in: chord-plugin status %s", first, first)
	}
	if _, ok := commands[first]; ok {
		return ""
	}
	return fmt.Sprintf("there is no command %q; did you mean %q? chord-plugin -help lists all", first, agent.Nearest(first, topLevel(commands)))
}

func topLevel(commands map[string]cli.CommandFactory) []string {
	var names []string
	for name := range commands {
		if !strings.Contains(name, " ") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

const introduction = `chord-plugin stores keys and values in a ring of machines: every key is kept by
up to five of them, and no acknowledged write is lost while most of a key's
owners live. A host application loads this program as its storage plugin. By
itself it runs as an agent with an HTTP API, which the other commands talk to.

    chord-plugin agent                 starts a ring of one member, in memory
    chord-plugin kv put greeting hi    stores a value
    chord-plugin kv get greeting       prints it

`

func help(commands map[string]cli.CommandFactory) string {
	return introduction + cli.BasicHelpFunc("chord-plugin")(commands)
}

package main

import (
	"context"
	"flag"
	"time"

	"github.com/chord-plugin/chord-plugin/httpapi"
	"github.com/chord-plugin/chord-plugin/internal/agent"
)

// defaultTimeout is how long a command waits for the agent.
const defaultTimeout = 10 * time.Second

// asking are the flags of every command that asks an agent.
type asking struct {
	*streams
	addr    string
	timeout time.Duration
	json    bool
}

func askingFlags(s *streams, f *flag.FlagSet) *asking {
	return askingFlagsFor(s, f, defaultTimeout, "give up after this `DURATION`. Default: "+defaultTimeout.String())
}

// askingFlagsFor is askingFlags for a command with a time-out of its own.
func askingFlagsFor(s *streams, f *flag.FlagSet, timeout time.Duration, usage string) *asking {
	a := silentFlagsFor(s, f, timeout, usage)
	f.BoolVar(&a.json, "json", false, "print JSON")
	return a
}

// silentFlagsFor is askingFlagsFor for a command that prints nothing.
func silentFlagsFor(s *streams, f *flag.FlagSet, timeout time.Duration, usage string) *asking {
	a := &asking{streams: s}
	f.StringVar(&a.addr, "http-addr", "", "the agent's `ADDRESS`: host:port or a URL\nDefault: CHORD_HTTP_ADDR, else "+httpapi.DefaultAddr)
	f.DurationVar(&a.timeout, "timeout", timeout, usage)
	return a
}

// do calls f with a client of the agent, within the time-out.
func (a *asking) do(ctx context.Context, f func(ctx context.Context, agent *httpapi.Client) error) error {
	return a.with(func(agent *httpapi.Client) error {
		ctx, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		return f(ctx, agent)
	})
}

// with calls f with a client of the agent. What f asks is not bounded, except
// through each.
func (a *asking) with(f func(agent *httpapi.Client) error) error {
	if a.timeout <= 0 {
		return usagef("-timeout: it is %v; allowed is more than 0, such as 10s", a.timeout)
	}
	addr := a.addr
	if addr == "" {
		addr = agent.Lookup(a.environ, agent.Variable("http_addr"))
	}
	agent, err := httpapi.NewClient(httpapi.ClientConfig{Addr: addr})
	if err != nil {
		return &usageError{err}
	}
	defer agent.Close() // always nil
	return f(agent)
}

// each asks one thing within the time-out.
func each[T any](ctx context.Context, a *asking, f func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	return f(ctx)
}

package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// sessionJSON is a session as -json prints it; the data is in base64.
type sessionJSON struct {
	ID          string           `json:"id"`
	Name        string           `json:"name"`
	TTL         string           `json:"ttl,omitempty"`
	Behavior    backend.Behavior `json:"behavior"`
	LockDelay   string           `json:"lock_delay"`
	Data        []byte           `json:"data,omitempty"`
	CreateIndex uint64           `json:"create_index"`
}

func toSessionJSON(s *backend.Session) sessionJSON {
	j := sessionJSON{ID: s.ID, Name: s.Name, Behavior: s.Behavior, LockDelay: s.LockDelay.String(), Data: s.Data, CreateIndex: s.CreateIndex}
	if s.TTL > 0 {
		j.TTL = s.TTL.String()
	}
	return j
}

func newSession(s *streams) *command {
	return newGroup(s, "session", "makes and ends sessions, which locks hang on", "create", "renew", "destroy", "info", "list")
}

// sessionFlags are those that describe a session that is to be made.
type sessionFlags struct {
	opts      backend.SessionOptions
	behavior  string
	lockDelay time.Duration
}

func (c *command) sessionFlags(ttl time.Duration, ttlUsage string) *sessionFlags {
	f := &sessionFlags{}
	c.flags.StringVar(&f.opts.Name, "name", "", "a `TEXT` for people")
	c.flags.DurationVar(&f.opts.TTL, "ttl", ttl, ttlUsage)
	c.flags.StringVar(&f.behavior, "behavior", string(backend.BehaviorRelease), "what becomes of the keys that it holds when it ends: release or delete `THEM`. Default: release")
	c.flags.DurationVar(&f.lockDelay, "lock-delay", backend.DefaultLockDelay, "the `DURATION` for which nobody can lock what it held when it ended: up to 1m, 0s for none. Default: "+backend.DefaultLockDelay.String())
	return f
}

// options returns the session that the flags describe.
func (f *sessionFlags) options() (backend.SessionOptions, error) {
	opts := f.opts
	opts.Behavior, opts.LockDelay = backend.Behavior(f.behavior), f.lockDelay
	switch {
	case f.lockDelay == 0:
		opts.LockDelay = backend.NoLockDelay
	case f.lockDelay < 0:
		return opts, usagef("-lock-delay: it is %v; allowed is 0s to %v", f.lockDelay, backend.MaxLockDelay)
	}
	if err := backend.CheckSession(opts); err != nil {
		return opts, &usageError{err}
	}
	return opts, nil
}

func newSessionCreate(s *streams) *command {
	c := newCommand(s, "session create", "", "makes a session and prints its ID")
	c.text = `A session with a TTL ends some time after that unless it is renewed.`
	a := askingFlags(s, c.flags)
	f := c.sessionFlags(0, "the `DURATION` for which it lives from its last renewal: 10s to 24h. Default: until it is destroyed")
	c.run = func(ctx context.Context, _ []string) error {
		opts, err := f.options()
		if err != nil {
			return err
		}
		return a.do(ctx, func(ctx context.Context, agent *httpapi.Client) error {
			made, err := agent.CreateSession(ctx, opts)
			if err != nil {
				return err
			}
			return a.printSession(made)
		})
	}
	return c
}

// printSession prints the session's ID, or all with -json.
func (a *asking) printSession(s *backend.Session) error {
	if a.json {
		return printJSON(a.stdout, toSessionJSON(s))
	}
	_, err := fmt.Fprintln(a.stdout, s.ID)
	return err
}

// newSessionCommand is a command about one session.
func newSessionCommand(s *streams, name, synopsis string, do func(ctx context.Context, a *asking, agent *httpapi.Client, id string) error) *command {
	c := newCommand(s, "session "+name, "ID", synopsis)
	c.least, c.most = 1, 1
	a := askingFlags(s, c.flags)
	c.run = func(ctx context.Context, args []string) error {
		return a.do(ctx, func(ctx context.Context, agent *httpapi.Client) error { return do(ctx, a, agent, args[0]) })
	}
	return c
}

func newSessionRenew(s *streams) *command {
	return newSessionCommand(s, "renew", "lets a session live for its TTL from now", func(ctx context.Context, a *asking, agent *httpapi.Client, id string) error {
		renewed, err := agent.RenewSession(ctx, id)
		if err != nil {
			return err
		}
		return a.printSession(renewed)
	})
}

// ended is what a session that was destroyed prints with -json.
type ended struct {
	ID string `json:"id"`
}

func newSessionDestroy(s *streams) *command {
	c := newSessionCommand(s, "destroy", "ends a session and frees the keys that it holds", func(ctx context.Context, a *asking, agent *httpapi.Client, id string) error {
		err := agent.DestroySession(ctx, id)
		switch {
		case err != nil:
			return err
		case a.json:
			return printJSON(a.stdout, ended{ID: id})
		}
		_, err = fmt.Fprintf(a.stdout, "destroyed %s\n", id)
		return err
	})
	c.text = `Destroying a session that has ended or never was is no error.`
	return c
}

func newSessionInfo(s *streams) *command {
	c := newSessionCommand(s, "info", "shows a session", func(ctx context.Context, a *asking, agent *httpapi.Client, id string) error {
		found, err := agent.Session(ctx, id)
		switch {
		case err != nil:
			return err
		case found == nil:
			return fmt.Errorf("%w: %q", errNoSession, id)
		case a.json:
			return printJSON(a.stdout, toSessionJSON(found))
		}
		j := toSessionJSON(found)
		return printPairs(a.stdout, [][2]string{
			{"id", j.ID}, {"name", j.Name}, {"ttl", j.TTL}, {"behavior", string(j.Behavior)}, {"lock delay", j.LockDelay},
			{"index", strconv.FormatUint(j.CreateIndex, 10)},
		})
	})
	c.text = `When there is no such session the exit code is 3.`
	return c
}

func newSessionList(s *streams) *command {
	c := newCommand(s, "session list", "", "lists the sessions that live")
	a := askingFlags(s, c.flags)
	c.run = func(ctx context.Context, _ []string) error {
		return a.do(ctx, func(ctx context.Context, agent *httpapi.Client) error {
			all, err := agent.Sessions(ctx)
			if err != nil {
				return err
			}
			list, rows := make([]sessionJSON, len(all)), [][]string{{"ID", "NAME", "TTL", "BEHAVIOR", "LOCK DELAY", "INDEX"}}
			for i, one := range all {
				j := toSessionJSON(one)
				list[i] = j
				rows = append(rows, []string{j.ID, j.Name, j.TTL, string(j.Behavior), j.LockDelay, strconv.FormatUint(j.CreateIndex, 10)})
			}
			if a.json {
				return printJSON(c.stdout, list)
			}
			return printTable(c.stdout, rows)
		})
	}
	return c
}

package main

import (
	"context"
	"fmt"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// entryJSON is an entry as -json prints it; the value is in base64.
type entryJSON struct {
	Key         string `json:"key"`
	Value       []byte `json:"value"`
	Flags       uint64 `json:"flags"`
	Session     string `json:"session,omitempty"`
	CreateIndex uint64 `json:"create_index"`
	ModifyIndex uint64 `json:"modify_index"`
	LockIndex   uint64 `json:"lock_index"`
	LockToken   uint64 `json:"lock_token,omitempty"`
	// ExpiresAfter is a duration such as 30s.
	ExpiresAfter string `json:"expires_after,omitempty"`
}

func toJSON(e *backend.Entry) *entryJSON {
	if e == nil {
		return nil
	}
	j := &entryJSON{
		Key: e.Key, Value: e.Value, Flags: e.Flags, Session: e.Session,
		CreateIndex: e.CreateIndex, ModifyIndex: e.ModifyIndex, LockIndex: e.LockIndex, LockToken: e.LockToken,
	}
	if e.ExpiresAfter > 0 {
		j.ExpiresAfter = e.ExpiresAfter.String()
	}
	return j
}

func newGet(s *streams) *command {
	c := newCommand(s, "kv get", "KEY", "prints the value of a key")
	c.text = `The bytes of the value are printed as they are, without a newline behind. With
-json the whole entry is printed, its value in base64. When there is no such key
the exit code is 3.`
	c.least, c.most = 1, 1
	a := askingFlags(s, c.flags)
	stale := c.flags.Bool("stale", false, "ask one owner only: faster, and possibly old")
	c.run = func(ctx context.Context, args []string) error {
		return a.do(ctx, func(ctx context.Context, agent *httpapi.Client) error {
			e, err := agent.Get(ctx, args[0], backend.GetOptions{Stale: *stale})
			switch {
			case err != nil:
				return err
			case e == nil:
				return fmt.Errorf("%w: %q", errNoKey, args[0])
			case a.json:
				return printJSON(c.stdout, toJSON(e))
			}
			if _, err := c.stdout.Write(e.Value); err != nil {
				return fmt.Errorf("print the value: %w", err)
			}
			return nil
		})
	}
	return c
}

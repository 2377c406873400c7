package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// condition is the flag -cas.
type condition struct{ backend.Condition }

func (c *condition) String() string { return "" }

func (c *condition) Set(v string) error {
	index, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return fmt.Errorf("allowed is a modify index, or 0 for a key that must not exist")
	}
	c.Condition = backend.IfIndex(index)
	return nil
}

const casUsage = "only if the key's modify index is `INDEX`; 0: only if there is no such key"

// changed is what a change prints with -json.
type changed struct {
	Key string `json:"key"`
	// Index is the modify index of a put.
	Index uint64 `json:"index,omitempty"`
	// LockToken is that of a put that took a lock.
	LockToken uint64 `json:"lock_token,omitempty"`
}

func newPut(s *streams) *command {
	c := newCommand(s, "kv put", "KEY VALUE|-", "stores a value at a key")
	c.text = `With - in place of the value it is read from standard input, as it is. A key or
value that begins with a dash goes behind --. With -acquire or -release it fails with a
conflict when the lock is not to be had or to give.`
	c.least, c.most = 2, 2
	a := askingFlags(s, c.flags)
	var cas condition
	c.flags.Var(&cas, "cas", casUsage)
	flags := c.flags.Uint64("flags", 0, "an opaque `NUMBER` to store with the value. Default: 0")
	acquire := c.flags.String("acquire", "", "make this `SESSION` the holder of the key as a lock")
	release := c.flags.String("release", "", "leave the key without a holder, which must be this `SESSION`")
	expires := c.flags.Duration("expires-after", 0, "the `DURATION` after which the key is to disappear: 10s to 24h. Default: never")
	c.run = func(ctx context.Context, args []string) error {
		if given := c.given("cas", "acquire", "release"); len(given) > 1 {
			return usagef("-%s and -%s exclude each other", given[0], given[1])
		}
		if given := c.given("expires-after", "acquire", "release"); len(given) > 1 {
			return usagef("-%s and -%s exclude each other: a lock does not expire, its session does", given[0], given[1])
		}
		return a.with(func(agent *httpapi.Client) error {
			key, value := args[0], []byte(args[1])
			if args[1] == "-" { // before the time-out begins, which is the agent's
				var err error
				if value, err = c.readValue(key, agent.Limits().MaxValueSize); err != nil {
					return err
				}
			}
			ctx, cancel := context.WithTimeout(ctx, a.timeout)
			defer cancel()
			op := backend.TxnOp{Key: key, Value: value, Flags: *flags}
			var done changed
			var err error
			switch {
			case *acquire != "":
				op.Verb, op.Session = backend.VerbLock, *acquire
				done, err = hold(ctx, agent, op)
			case *release != "":
				op.Verb, op.Session = backend.VerbUnlock, *release
				done, err = hold(ctx, agent, op)
			default:
				done.Key = key
				done.Index, err = agent.Put(ctx, key, value, backend.PutOptions{If: cas.Condition, Flags: *flags, ExpiresAfter: *expires})
			}
			switch {
			case err != nil:
				return err
			case a.json:
				return printJSON(c.stdout, done)
			case done.LockToken > 0:
				_, err = fmt.Fprintf(c.stdout, "stored %q at index %d; session %s holds it with token %d\n", key, done.Index, *acquire, done.LockToken)
			default:
				_, err = fmt.Fprintf(c.stdout, "stored %q at index %d\n", key, done.Index)
			}
			return err
		})
	}
	return c
}

// hold takes or releases a lock.
func hold(ctx context.Context, agent *httpapi.Client, op backend.TxnOp) (changed, error) {
	res, err := agent.Txn(ctx, []backend.TxnOp{op})
	if err != nil {
		return changed{}, err
	}
	e := res.Results[0].Entry
	return changed{Key: e.Key, Index: e.ModifyIndex, LockToken: e.LockToken}, nil
}

// readValue reads standard input, but no more than the agent takes.
func (s *streams) readValue(key string, limit int) ([]byte, error) {
	value, err := io.ReadAll(io.LimitReader(s.stdin, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("read the value of %q from standard input: %w", key, err)
	}
	if len(value) > limit {
		return nil, backend.Errorf(backend.TooLarge, key, "put failed due to value being too large: standard input has more than %d bytes, the most that the agent takes; split it, or raise http_max_value_size and max_value_size", limit)
	}
	return value, nil
}

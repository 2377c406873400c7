package main

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/internal/agent"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// target is one of the things that are measured side by side.
type target struct {
	name string
	// pids are the processes that work for it beside this one.
	pids  []int
	get   func(ctx context.Context, key string) ([]byte, error)
	put   func(ctx context.Context, key string, value []byte) error
	close func() error
}

// node configures the node, in process and in the plugin alike: a ring of one in
// memory, so that the node itself takes as little time as it can.
func node(name string) map[string]string {
	return map[string]string{"name": name, "memory": "true"}
}

// openNode opens the node in this process.
func openNode() (*target, error) {
	n, err := agent.OpenForHost(node("in-process"), nil, agent.Embedded, hclog.NewNullLogger(), "bench")
	if err != nil {
		return nil, err
	}
	return targetOf("in process", n), nil
}

// openPlugin loads the binary as a host does.
func openPlugin(ctx context.Context, binary string) (*target, error) {
	c, err := plugin.Open(ctx, plugin.Config{Path: binary, Configuration: node("plugin")})
	if err != nil {
		return nil, err
	}
	return targetOf("plugin", c, c.PID()), nil
}

func targetOf(name string, b backend.Backend, pids ...int) *target {
	return &target{
		name: name, pids: pids, close: b.Close,
		get: func(ctx context.Context, key string) ([]byte, error) {
			e, err := b.Get(ctx, key, backend.GetOptions{})
			if err != nil || e == nil {
				return nil, err
			}
			return e.Value, nil
		},
		put: func(ctx context.Context, key string, value []byte) error {
			_, err := b.Put(ctx, key, value, backend.PutOptions{})
			return err
		},
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/internal/agent"
	"github.com/chord-plugin/chord-plugin/plugin"
)

func newPlugin(s *streams) *command {
	c := newCommand(s, "plugin", "", "says what a plugin is; a host starts it")
	c.text = plugin.NotAPluginText
	c.run = func(context.Context, []string) error {
		return usagef("%s", strings.TrimSpace(plugin.NotAPluginText))
	}
	return c
}

// servePlugin serves the host that started this process, and returns the exit
// code.
func servePlugin(stderr io.Writer) int {
	// The host's own logger decides what is printed.
	logger := hclog.New(&hclog.LoggerOptions{Name: "chord-plugin", Level: hclog.Info, Output: stderr, JSONFormat: true})
	err := plugin.Serve(plugin.ServeConfig{
		Logger: logger, Version: version,
		Open: func(_ context.Context, given map[string]string) (backend.Backend, backend.Admin, error) {
			n, err := agent.OpenForHost(given, os.Environ(), agent.InPlugin, logger, version)
			if err != nil {
				return nil, nil, err
			}
			return n, n, nil
		},
	})
	if err != nil {
		fmt.Fprintf(stderr, "chord-plugin: %v\n", err)
		return exitFailed
	}
	return exitDone
}

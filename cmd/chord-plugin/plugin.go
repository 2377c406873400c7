package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
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
			n, err := openPlugin(given, logger)
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

// openPlugin starts the node that a host's configuration describes. It returns
// once the node listens; operations wait until there is a ring.
func openPlugin(given map[string]string, logger hclog.Logger) (*node, error) {
	c, err := load(layer{values: given, label: func(key string) string { return key }}, os.Environ(), true)
	if err != nil {
		return nil, backend.Errorf(backend.Invalid, "", "%w", err)
	}
	logger.SetLevel(c.level())
	for _, open := range c.unprotected() {
		logger.Warn("insecure", "because", open)
	}
	m, err := newMeasures()
	if err != nil {
		return nil, err
	}
	n, err := openNode(c, logger, m)
	if err != nil {
		return nil, backend.Errorf(backend.Invalid, "", "%w", err)
	}
	if n.server != nil {
		n.serving.Go(func() {
			if err := <-n.served; !errors.Is(err, http.ErrServerClosed) {
				logger.Error("the HTTP API ended; the plugin goes on without it", "addr", n.httpAddr, "error", err)
			}
		})
	}
	return n, nil
}

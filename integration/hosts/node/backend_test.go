//go:build node

package node_test

import (
	"os/exec"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// A plugin that shares no line of Go with this project, and nothing with go-plugin,
// keeps the contract.
func TestConformanceOfANodePlugin(t *testing.T) {
	node, err := exec.LookPath("node")
	require.NoError(t, err)
	backendtest.Run(t, func(t *testing.T) backend.Backend {
		c, err := plugin.Open(t.Context(), plugin.Config{Path: node, Args: []string{"backend.js"}, Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn})})
		require.NoError(t, err)
		require.Zero(t, c.Capabilities())
		return c
	})
}

package main

import (
	"bufio"
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// build builds the plugin.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "chord-plugin")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/chord-plugin").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// startAgent starts a ring of one member and returns its gossip address.
func startAgent(t *testing.T, path string) string {
	t.Helper()
	agent := exec.Command(path, "agent", "-gossip-addr", "127.0.0.1:0", "-mesh-addr", "127.0.0.1:0", "-http-addr", "")
	stdout, err := agent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, agent.Start())
	t.Cleanup(func() {
		require.NoError(t, agent.Process.Signal(syscall.SIGTERM))
		require.NoError(t, agent.Wait())
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if addr, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "gossip"); ok {
			return strings.TrimSpace(addr)
		}
	}
	require.Fail(t, "the agent does not say where it gossips")
	return ""
}

func TestHost(t *testing.T) {
	path := build(t)
	for _, test := range []struct{ name, seeds string }{
		{"a ring of its own", ""},
		{"a client of a ring", startAgent(t, path)},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.NoError(t, run(t.Context(), path, test.seeds, &stdout, &stderr), "%s", &stderr)
			for _, want := range []string{
				"wrote host/size/unit at index ",
				`read "value of host/colour"`,
				`conflict: key "host/colour"`,
				`listed ["host/colour" "host/size" "host/size/"]`,
				"deleted host/size/unit\n",
			} {
				require.Contains(t, stdout.String(), want)
			}
		})
	}
}

func TestNoPlugin(t *testing.T) {
	err := run(t.Context(), filepath.Join(t.TempDir(), "none"), "", &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorContains(t, err, "load the plugin: invalid: there is no plugin at")
}

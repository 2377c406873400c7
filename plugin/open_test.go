package plugin_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// program writes an executable shell script.
func program(t *testing.T, mode os.FileMode, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+strings.Join(lines, "\n")+"\n"), mode))
	return path
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Everything that can be wrong with what a host asks for is told in words.
func TestOpenRefuses(t *testing.T) {
	good := sumOf(t, testPlugin)
	wrong := strings.Repeat("0a", sha256.Size)
	for name, test := range map[string]struct {
		config plugin.Config
		says   []string
	}{
		"no path":            {plugin.Config{}, []string{"Config.Path is empty"}},
		"missing":            {plugin.Config{Path: "/nowhere/chord-plugin"}, []string{"there is no plugin at /nowhere/chord-plugin"}},
		"directory":          {plugin.Config{Path: t.TempDir()}, []string{"is a directory"}},
		"not executable":     {plugin.Config{Path: program(t, 0o600, "exit 0")}, []string{"is not executable", "-rw-------", "chmod +x"}},
		"checksum too short": {plugin.Config{Path: testPlugin, SHA256: "abcd"}, []string{`"abcd"`, "64 hexadecimal digits"}},
		"checksum not hex":   {plugin.Config{Path: testPlugin, SHA256: strings.Repeat("zz", 32)}, []string{"64 hexadecimal digits"}},
		"checksum wrong":     {plugin.Config{Path: testPlugin, SHA256: wrong}, []string{"is " + good, "should be " + wrong}},
		"negative timeout":   {plugin.Config{Path: testPlugin, StartTimeout: -1}, []string{"StartTimeout"}},
		"environment":        {plugin.Config{Path: testPlugin, Env: []string{"secret"}}, []string{"NAME=value"}},
		"not UTF-8":          {plugin.Config{Path: testPlugin, Configuration: map[string]string{"name": "\xff"}}, []string{`"name"`, "UTF-8"}},
		"says nothing":       {plugin.Config{Path: program(t, 0o700, "exit 0")}, []string{"did not start as a chord-plugin"}},
		"says why":           {plugin.Config{Path: program(t, 0o700, "echo >&2", "echo no such library >&2", "echo more >&2", "exit 1")}, []string{"did not start as a chord-plugin; it says: no such library:"}},
		"another program":    {plugin.Config{Path: program(t, 0o700, "echo Hello, world!")}, []string{"did not start as a chord-plugin"}},
		"newer protocol":     {plugin.Config{Path: program(t, 0o700, "echo '1|2|unix|/nowhere|grpc'", "exec cat")}, []string{"is newer than this host", "version 2", "speaks 1", "upgrade the host"}},
		"older protocol":     {plugin.Config{Path: program(t, 0o700, "echo '1|0|unix|/nowhere|grpc'", "exec cat")}, []string{"is older than this host", "version 0", "speaks 1", "upgrade the plugin"}},
		"not gRPC":           {plugin.Config{Path: program(t, 0o700, "echo '1|1|unix|/nowhere|netrpc'", "exec cat")}, []string{"did not start as a chord-plugin", "netrpc"}},
		"unknown setting":    {plugin.Config{Path: testPlugin, Configuration: map[string]string{"colour": "red"}}, []string{`there is no setting "colour"`}},
		"wrong setting":      {plugin.Config{Path: testPlugin, Configuration: map[string]string{"max_value_size": "many"}}, []string{`max_value_size is "many"`}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := plugin.Open(t.Context(), test.config)
			require.Nil(t, c)
			require.Equal(t, backend.Invalid, backend.CodeOf(err), "%v", err)
			for _, text := range test.says {
				require.ErrorContains(t, err, text)
			}
		})
	}
}

func TestOpenFails(t *testing.T) {
	_, err := plugin.Open(t.Context(), plugin.Config{Path: testPlugin, Configuration: map[string]string{"open": "fail"}})
	require.ErrorIs(t, err, backend.ErrInternal)
	require.ErrorContains(t, err, "the disk is on fire")

	_, err = plugin.Open(t.Context(), plugin.Config{Path: testPlugin, Configuration: map[string]string{"open": "exit"}})
	require.ErrorIs(t, err, backend.ErrInternal)
	require.ErrorContains(t, err, "ended while it was configured")

	start := time.Now()
	_, err = plugin.Open(t.Context(), plugin.Config{Path: program(t, 0o700, "exec sleep 60"), StartTimeout: 100 * time.Millisecond})
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "timeout while waiting for plugin to start")
	require.Less(t, time.Since(start), 10*time.Second)
}

// The context ends Open, whatever that waits for.
func TestOpenGivenUp(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := plugin.Open(cancelled, plugin.Config{Path: testPlugin})
	require.ErrorIs(t, err, backend.ErrNotReady)
	require.ErrorIs(t, err, context.Canceled)

	_, err = plugin.Open(within(t, 100*time.Millisecond), plugin.Config{Path: program(t, 0o700, "exec sleep 60")})
	require.ErrorIs(t, err, backend.ErrNotReady)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	_, err = plugin.Open(within(t, 2*time.Second), plugin.Config{Path: testPlugin, Configuration: map[string]string{"open": "wait"}})
	require.ErrorIs(t, err, backend.ErrNotReady)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestOpenWithChecksumAndRelativePath(t *testing.T) {
	t.Chdir(filepath.Dir(testPlugin))
	c, err := plugin.Open(t.Context(), plugin.Config{Path: filepath.Base(testPlugin), SHA256: strings.ToUpper(sumOf(t, testPlugin))})
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// The plugin sees of the host's environment nothing, and what it is given.
func TestEnvironment(t *testing.T) {
	t.Setenv("CHORD_TEST_SECRET", "sesame")
	c, err := plugin.Open(t.Context(), plugin.Config{Path: testPlugin, Env: []string{"CHORD_TEST_GIVEN=a=b"}})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	for name, want := range map[string]string{"CHORD_TEST_GIVEN": "a=b", plugin.Handshake.MagicCookieKey: plugin.Handshake.MagicCookieValue} {
		e, err := c.Get(t.Context(), "env/"+name, backend.GetOptions{})
		require.NoError(t, err)
		require.Equal(t, want, string(e.Value))
	}
	for _, name := range []string{"CHORD_TEST_SECRET", "PATH", "HOME"} {
		e, err := c.Get(t.Context(), "env/"+name, backend.GetOptions{})
		require.NoError(t, err)
		require.Nil(t, e, name)
	}
}

// What the plugin logs appears in the host's log.
func TestLog(t *testing.T) {
	var text bytes.Buffer
	logger := hclog.New(&hclog.LoggerOptions{Output: &text, Level: hclog.Info})
	c, err := plugin.Open(t.Context(), plugin.Config{Path: testPlugin, Logger: logger})
	require.NoError(t, err)
	terminate(t, c)
	require.NoError(t, c.Close())
	require.Contains(t, text.String(), "terminated: closing the backend")
}

// Started by hand, the plugin says what it is for.
func TestStartedByHand(t *testing.T) {
	require.False(t, plugin.Launched())
	out, err := exec.Command(testPlugin).CombinedOutput()
	require.Error(t, err)
	require.Equal(t, plugin.NotAPluginText, string(out))
	require.ErrorContains(t, plugin.Serve(plugin.ServeConfig{Open: unused}), "no host has started this process")
	require.ErrorContains(t, plugin.Serve(plugin.ServeConfig{}), "ServeConfig.Open is not set")
}

func unused(context.Context, map[string]string) (backend.Backend, backend.Admin, error) {
	panic("opened without a host")
}

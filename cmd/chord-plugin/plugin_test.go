package main

import (
	"bufio"
	"context"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// binary is this program, as TestMain provides it.
func binary(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("chord-plugin")
	require.NoError(t, err)
	return path
}

func openHere(t *testing.T, configuration map[string]string) (*plugin.Client, error) {
	t.Helper()
	return plugin.Open(t.Context(), plugin.Config{Path: binary(t), Configuration: configuration})
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestPluginAlone(t *testing.T) {
	c, err := openHere(t, map[string]string{"name": "here", "max_value_size": "10"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	ctx := bounded(t)
	_, err = c.Put(ctx, "k", []byte("v"), backend.PutOptions{}) // waits for the ring
	require.NoError(t, err)
	e, err := c.Get(ctx, "k", backend.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "v", string(e.Value))
	_, err = c.Put(ctx, "k", []byte("12345678901"), backend.PutOptions{})
	require.ErrorIs(t, err, backend.ErrTooLarge)
	s, err := c.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, "here", s.Name)
	require.Equal(t, "member", s.Role)
	require.Empty(t, s.HTTPAddr)
	require.Equal(t, version, c.Info().Version)
}

// A plugin with seeds is a client of their ring, and can show an HTTP API.
func TestPluginClient(t *testing.T) {
	agent := exec.Command(binary(t), "agent", "-name", "member", "-gossip-addr", "127.0.0.1:0", "-mesh-addr", "127.0.0.1:0", "-http-addr", "")
	stdout, err := agent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, agent.Start())
	t.Cleanup(func() {
		require.NoError(t, agent.Process.Signal(syscall.SIGTERM))
		require.NoError(t, agent.Wait())
	})
	seeds := ""
	for lines := bufio.NewScanner(stdout); seeds == "" && lines.Scan(); {
		addr, _ := strings.CutPrefix(lines.Text(), "  gossip")
		if addr != lines.Text() {
			seeds = strings.TrimSpace(addr)
		}
	}
	require.NotEmpty(t, seeds)

	c, err := openHere(t, map[string]string{"seeds": seeds, "http_addr": "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	ctx := bounded(t)
	_, err = c.Put(ctx, "k", []byte("v"), backend.PutOptions{})
	require.NoError(t, err)
	s, err := c.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, "client", s.Role)

	out, err := exec.CommandContext(ctx, binary(t), "kv", "get", "k", "-http-addr", s.HTTPAddr).Output()
	require.NoError(t, err)
	require.Equal(t, "v", string(out))
}

func TestPluginRefuses(t *testing.T) {
	for _, test := range []struct {
		values map[string]string
		want   string
	}{
		{map[string]string{"seed": "127.0.0.1:1"}, `seed: there is no such setting; did you mean "seeds"?`},
		{map[string]string{"replicas": "9"}, `replicas: it is "9"; allowed is 1 to 5`},
		{map[string]string{"data_dir": "/dev/null"}, "/dev/null is a file"},
	} {
		_, err := openHere(t, test.values)
		require.ErrorIs(t, err, backend.ErrInvalid)
		require.ErrorContains(t, err, test.want)
	}
}

// A plugin that is to leave does so when its host closes it; without that it keeps
// its place.
func TestPluginLeaves(t *testing.T) {
	agent, url, log := runAgent(t, "-name", "agent")
	logged(t, log, "serving as a member")
	seeds := gossipOf(t, url)
	members := func() string {
		out, err := exec.CommandContext(bounded(t), binary(t), "ring", "-http-addr", url).Output()
		require.NoError(t, err)
		return string(out)
	}
	for _, leave := range []string{"true", "false"} {
		c, err := openHere(t, map[string]string{"name": "plugin" + leave, "seeds": seeds, "memory": "true", "leave_on_stop": leave})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			ring, err := c.Ring(bounded(t))
			return err == nil && len(ring.Members) == 2 && !ring.Joint
		}, 30*time.Second, 20*time.Millisecond)
		require.NoError(t, c.Close())
		if leave == "true" {
			require.NotContains(t, members(), "plugintrue")
		} else {
			require.Contains(t, members(), "pluginfalse")
		}
	}
	require.NoError(t, agent.Process.Signal(syscall.SIGTERM))
	for log.Scan() {
	}
	require.NoError(t, agent.Wait())
}

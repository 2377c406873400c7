package integration

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/load"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// openPlugin loads the binary as a plugin that is a client of the ring.
func (r *ring) openPlugin(name string) *plugin.Client {
	r.t.Helper()
	gossip, err := cluster.FreeAddr()
	r.must(err)
	c, err := plugin.Open(r.ctx, plugin.Config{Path: binary, Configuration: map[string]string{
		"role": "client", "name": name, "gossip_addr": gossip, "seeds": strings.Join(r.Seeds(), ","),
	}})
	r.must(err)
	r.t.Cleanup(func() { _ = c.Close() }) // again; a test that needs its error asks for it
	return c
}

// TestKillUnderPlugins kills members under hosts that go through plugins of
// their own.
func TestKillUnderPlugins(t *testing.T) {
	t.Parallel()
	r := startRing(t)
	targets := []crew.Target{{Name: "host-1", Backend: r.openPlugin("host-1")}, {Name: "host-2", Backend: r.openPlugin("host-2")}}
	t.Logf("seed %d", seed)
	l := load.Start(load.Config{Seed: seed, Clients: 3}, targets...)
	t.Cleanup(func() { l.Stop() })
	l.Run(time.Second)
	begun := l.Now()
	r.must(r.Members[0].Kill())
	l.Run(time.Second)
	r.must(r.Members[1].Kill())
	l.Run(3 * time.Second)
	ended := l.Now()
	r.must(r.Members[0].Restart(r.ctx))
	r.must(r.Members[1].Restart(r.ctx))
	l.Run(time.Second)
	report := l.Stop()
	for _, target := range targets {
		gap := report.Gap(target.Name, begun, ended)
		t.Logf("longest gap without a write: %v", gap)
		require.Less(t, gap.Length(), maxGap)
	}
	r.must(r.WaitAlive(r.ctx))
	t.Log(report)
	r.must(report.Judge(r.ctx, append(targets, r.targets()...)...))
	for _, target := range targets {
		r.must(target.Backend.Close())
	}
}

// TestKillPlugin kills the plugin's process: the host notices at once, and a new
// plugin finds what was written.
func TestKillPlugin(t *testing.T) {
	t.Parallel()
	r := startRing(t)
	c := r.openPlugin("host")
	_, err := c.Put(r.ctx, "k", []byte("v"), backend.PutOptions{})
	r.must(err)

	begun := time.Now()
	r.must(syscall.Kill(c.PID(), syscall.SIGKILL))
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the host has not noticed within 5 s that its plugin is dead")
	}
	t.Logf("noticed after %d ms", time.Since(begun).Milliseconds())
	_, err = c.Get(r.ctx, "k", backend.GetOptions{})
	require.ErrorIs(t, err, backend.ErrClosed)
	require.ErrorContains(t, err, "open it again")
	r.must(c.Close())

	// Under the same name, while the ring may still hold the old one for alive.
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second)
	defer cancel()
	again := r.openPlugin("host")
	e, err := again.Get(ctx, "k", backend.GetOptions{})
	r.must(err)
	require.Equal(t, "v", string(e.Value))
	r.must(again.Close())
}

package vault

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/integration/hosts/vault/fleet"
)

const (
	// takeover is how long it may take from the death of the active server until
	// another one is active.
	takeover = 20 * time.Second
	// writers are those of the load that runs through every fault.
	writers = 4
	// some is how many writes must be acknowledged before and after what is done.
	some = 100
)

// TestServers plays through the life of three servers whose plugins are the ring that
// they are stored in, and nothing else.
func TestServers(t *testing.T) {
	f := newFleet(t, fleet.Config{Servers: 3})
	for _, part := range []struct {
		name string
		play func(*stage)
	}{
		{"initialise and unseal", begin},
		{"one is active and the others stand by", standBy},
		{"engines and leases", engines},
		{"stop the active server", stopActive},
		{"kill the active server", killActive},
		{"kill the plugin of the active server", killPlugin},
		{"freeze the active server and its plugin", freezeBoth},
		{"freeze the active server alone", freezeAlone},
		{"what was there in the beginning is there in the end", remains},
	} {
		if !t.Run(part.name, func(t *testing.T) { play(t, f, part.play) }) {
			return // the next parts need what this one leaves
		}
	}
}

func begin(s *stage) {
	begun := time.Now()
	s.must(s.Start(s.ctx))
	s.Logf("three servers answer after %.1f s", time.Since(begun).Seconds())
	for _, server := range s.Servers {
		status, err := server.Health(s.ctx)
		s.must(err)
		require.Equal(s, http.StatusNotImplemented, status)
	}
	begun = time.Now()
	s.must(s.Init(s.ctx))
	for _, server := range s.Servers {
		s.must(server.WaitHealth(s.ctx, http.StatusServiceUnavailable))
	}
	s.must(s.Unseal(s.ctx, s.Servers...))
	active := s.active()
	s.Logf("initialised and unsealed after %.1f s; %s is active", time.Since(begun).Seconds(), active.Name)
	s.must(s.Mount(s.ctx, active))
}

func standBy(s *stage) {
	active := s.active()
	for _, server := range s.Servers {
		a := s.ok(server, http.MethodGet, "sys/leader", nil)
		require.Equal(s, server == active, a.Get("is_self"))
		require.Equal(s, true, a.Get("ha_enabled"))
		require.Equal(s, "http://"+active.Addr, a.String("leader_address"))
	}
	for i, standby := range s.Others(active) {
		s.must(standby.WaitHealth(s.ctx, http.StatusTooManyRequests))
		path := fleet.KV + "/data/through/" + standby.Name
		s.ok(standby, http.MethodPost, path, map[string]any{"data": map[string]any{"n": i}})
		require.Equal(s, float64(i), s.ok(active, http.MethodGet, path, nil).Get("data", "data", "n"), "what a standby is told is forwarded")
		a, err := standby.AskAlone(s.ctx, s.Root, http.MethodGet, path, nil)
		s.must(err)
		require.Equal(s, http.StatusTemporaryRedirect, a.Status)
		require.Equal(s, "http://"+active.Addr+"/v1/"+path, a.Location)
	}
}

// under runs the load while something is done, and for some time before and after. It
// requires that nothing is stale and nothing is lost.
func (s *stage) under(name string, do func(*fleet.Load)) {
	l := s.StartLoad(s.ctx, name, writers)
	defer l.Stop()
	s.must(l.WaitAcknowledged(s.ctx, some))
	do(l)
	s.must(l.WaitAcknowledged(s.ctx, some))
	r := l.Stop()
	lost, err := s.Lost(s.ctx, r)
	s.must(err)
	s.Logf("%v; lost %d", r, lost)
	require.Zero(s, lost)
	s.must(r.Check())
	for _, server := range s.Servers {
		s.must(server.WaitHealth(s.ctx, http.StatusOK, http.StatusTooManyRequests))
	}
	s.active()
}

// stopActive: a server that is told to stop gives the lock away at once.
func stopActive(s *stage) {
	s.under("stop", func(*fleet.Load) {
		old := s.active()
		begun := time.Now()
		s.must(old.Stop(s.ctx))
		ended := time.Since(begun)
		next := s.active(old)
		s.Logf("%s ended with its plugin after %.1f s; %s is active %.1f s after SIGTERM", old.Name, ended.Seconds(), next.Name, time.Since(begun).Seconds())
		s.restart(old)
	})
}

// killActive: a standby takes over, and the plugin goes by itself.
func killActive(s *stage) {
	s.under("kill", func(l *fleet.Load) {
		old := s.active()
		begun := time.Now()
		plugin, err := old.Kill()
		s.must(err)
		s.must(old.WaitGone(s.ctx, plugin))
		ended := time.Since(begun)
		next := s.active(old)
		after := time.Since(begun)
		s.Logf("the plugin of %s ended after %.1f s; %s is active %.1f s after SIGKILL", old.Name, ended.Seconds(), next.Name, after.Seconds())
		require.Less(s, after, takeover)
		s.must(l.WaitAcknowledged(s.ctx, some))
		s.restart(old)
		require.Equal(s, next, s.active(), "the one that was killed comes back as a standby")
	})
}

// restart starts a server that has ended, and unseals it.
func (s *stage) restart(server *fleet.Server) {
	s.Helper()
	s.must(server.Start())
	s.must(server.WaitHealth(s.ctx, http.StatusServiceUnavailable))
	s.must(s.Unseal(s.ctx, server))
}

// killPlugin: the server says what happened and steps down; the plugin runs again.
func killPlugin(s *stage) {
	s.under("plugin", func(*fleet.Load) {
		old := s.active()
		said := old.LogSize()
		begun := time.Now()
		plugin, err := old.KillPlugin()
		s.must(err)
		for _, text := range []string{
			"the storage plugin has died and is started again; its locks are lost",
			"leadership lost, stopping active operation",
			"the storage plugin runs again",
		} {
			line, err := old.WaitSaid(s.ctx, said, text)
			s.must(err)
			s.Log(line)
		}
		next := s.active()
		s.Logf("%s is active %.1f s after the SIGKILL of the plugin of %s", next.Name, time.Since(begun).Seconds(), old.Name)
		require.Less(s, time.Since(begun), takeover)
		again, err := old.PluginPID()
		s.must(err)
		require.NotEqual(s, plugin, again)
	})
}

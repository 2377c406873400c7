// Package hostring runs rings of real processes in which the plugins of hosts are
// members, for the tests of the adapters.
package hostring

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

const (
	// Size is how many members a ring has.
	Size = 5
	// patience bounds the start of a ring, and each question to it.
	patience = time.Minute
)

// Ring is a ring of Size processes on loopback with their data on disk: agents, and
// the plugins of hosts, which found it together.
type Ring struct {
	*cluster.Cluster
	t      testing.TB
	binary string
	dir    string
}

// Host is what the factory of an adapter returns.
type Host interface{ Close() error }

// Start starts a ring in which so many hosts have their plugins, 1 to 4, and returns
// what open, the factory of the adapter, made of their stanzas. The test ends it all,
// and shows the end of the agents' logs when it has failed.
func Start[H any](t *testing.T, binary string, hosts int, open func(map[string]string, hclog.Logger) (H, error)) (*Ring, []H) {
	t.Helper()
	r := &Ring{t: t, binary: binary, dir: t.TempDir()}
	var err error
	r.Cluster, err = cluster.New(cluster.Config{Binary: binary, Dir: r.dir, Members: Size - hosts, Args: []string{"-expect", fmt.Sprint(Size)}})
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, m := range r.Members {
				t.Logf("the end of the log of %s:\n%s", m.Name, m.Tail(40))
			}
		}
	})
	for _, m := range r.Members {
		require.NoError(t, m.Start())
	}
	var all []H
	for i := range hosts {
		name := fmt.Sprint("host-", i)
		h, err := open(map[string]string{
			"plugin_path": binary, "name": name, "data_dir": filepath.Join(r.dir, name),
			"seeds": strings.Join(r.Seeds(), ","), "expect": fmt.Sprint(Size),
		}, hclog.New(&hclog.LoggerOptions{Name: name, Output: t.Output(), Level: hclog.Error}))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, any(h).(Host).Close()) })
		all = append(all, h)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, m := range r.Members {
		require.NoError(t, m.WaitAlive(ctx, Size))
	}
	return r, all
}

// KillAt returns a function that kills an agent with SIGKILL when it is called for the
// n-th time, counted from 1. The test fails unless it is called so often.
func (r *Ring) KillAt(n int64) (count func()) {
	var calls atomic.Int64
	victim, begun := r.Members[len(r.Members)-1], time.Now()
	r.t.Cleanup(func() {
		if calls.Load() < n {
			r.t.Errorf("a member was to be killed at operation %d, and there were only %d", n, calls.Load())
		}
	})
	return func() {
		if calls.Add(1) != n {
			return
		}
		if err := victim.Kill(); err != nil {
			r.t.Errorf("kill a member: %v", err)
		}
		r.t.Logf("member %s was killed at operation %d, after %v", victim.Name, n, time.Since(begun).Round(time.Millisecond))
	}
}

// Suite runs a suite of an SDK with hosts in a ring of its own: once while all
// members live, and once with a member killed before the n-th operation that count is
// called for. It logs how long each took.
func Suite[H any](t *testing.T, binary string, hosts int, open func(map[string]string, hclog.Logger) (H, error), n int64, run func(t *testing.T, hosts []H, count func())) {
	for _, kill := range []bool{false, true} {
		name := "five members"
		if kill {
			name = "one of them killed"
		}
		t.Run(name, func(t *testing.T) {
			r, all := Start(t, binary, hosts, open)
			count := func() {}
			if kill {
				count = r.KillAt(n)
			}
			begun := time.Now()
			run(t, all, count)
			t.Logf("took %v", time.Since(begun).Round(time.Millisecond))
		})
	}
}

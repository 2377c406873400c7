package hostring

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/integration/process"
)

// Plugins returns the process IDs of the plugins of this program that run, the oldest
// first. It needs Linux.
func (r *Ring) Plugins() []int {
	r.t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(r.t, err)
	began := map[int]int{}
	for _, dir := range processes {
		args, err := os.ReadFile(dir + "/cmdline")
		if err != nil || string(args) != r.binary+"\x00" { // it has ended, or is an agent
			continue
		}
		s, err := process.ReadStat(dir)
		if err != nil || s.State == 'Z' || s.Parent != os.Getpid() {
			continue
		}
		began[s.ID] = s.Began
	}
	var pids []int
	for pid := range began {
		pids = append(pids, pid)
	}
	slices.SortFunc(pids, func(a, b int) int { return cmp.Or(cmp.Compare(began[a], began[b]), cmp.Compare(a, b)) })
	return pids
}

// EndSessions destroys all sessions, as an operator may, and returns how many.
func (r *Ring) EndSessions() int {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	agent, err := r.Members[0].Client()
	require.NoError(r.t, err)
	all, err := agent.Sessions(ctx)
	require.NoError(r.t, err)
	for _, s := range all {
		require.NoError(r.t, agent.DestroySession(ctx, s.ID))
	}
	return len(all)
}

package hostring

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
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
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		// Behind the name, which is in parentheses, come the state, the parent, and 18
		// fields on the moment of its start.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if fields[0] == "Z" || fields[1] != fmt.Sprint(os.Getpid()) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		require.NoError(r.t, err)
		began[pid], err = strconv.Atoi(fields[19])
		require.NoError(r.t, err)
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

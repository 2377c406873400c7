package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// runAgent starts an agent and returns it with its standard error, once it has
// said where its HTTP API is.
func runAgent(t *testing.T, args ...string) (agent *exec.Cmd, url string, stderr *bufio.Scanner) {
	t.Helper()
	agent = exec.CommandContext(t.Context(), binary(t), append([]string{
		"agent", "-gossip-addr", "127.0.0.1:0", "-mesh-addr", "127.0.0.1:0", "-http-addr", "127.0.0.1:0",
	}, args...)...)
	out, err := agent.StdoutPipe()
	require.NoError(t, err)
	log, err := agent.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, agent.Start())
	for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "  http"); ok {
			url = strings.TrimSpace(text)
		}
	}
	require.NotEmpty(t, url)
	return agent, url, bufio.NewScanner(log)
}

// What memberlist, the mesh and the store count is shown to Prometheus, and nothing
// to who calls the agent by a strange name.
func TestMetrics(t *testing.T) {
	agent, url, log := runAgent(t)
	for log.Scan() && !strings.Contains(log.Text(), "serving as a member") {
	}
	_, err := exec.CommandContext(bounded(t), binary(t), "kv", "put", "k", "v", "-http-addr", url).Output()
	require.NoError(t, err)
	resp, err := http.Get(url + "/v1/agent/metrics?format=prometheus")
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	for _, want := range []string{"\nchord_memberlist_", "\nchord_store_commit_", "\ngo_goroutines ", "\nprocess_resident_memory_bytes "} {
		require.Contains(t, string(text), want)
	}
	// A page whose name leads to loopback reads and writes nothing.
	strange, err := http.NewRequestWithContext(t.Context(), "GET", url+"/v1/kv/k", nil)
	require.NoError(t, err)
	strange.Host = "evil.example"
	resp, err = http.DefaultClient.Do(strange)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, agent.Process.Signal(syscall.SIGTERM))
	for log.Scan() {
	}
	require.NoError(t, agent.Wait(), "a signal is no failure")
}

// SIGUSR1 does not end the agent, and log lines can be JSON.
func TestDumpAndJSONLog(t *testing.T) {
	agent, url, log := runAgent(t, "-log-json", "-log-level=debug", "-http-max-value-size", "3")
	json := false
	for log.Scan() && !strings.Contains(log.Text(), "serving as a member") {
		json = json || strings.HasPrefix(log.Text(), `{"@`)
	}
	require.True(t, json)
	require.NoError(t, agent.Process.Signal(syscall.SIGUSR1))
	out, err := exec.CommandContext(bounded(t), binary(t), "kv", "put", "k", "long", "-http-addr", url).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "Value exceeds the limit of 3 bytes")
	require.NoError(t, agent.Process.Signal(syscall.SIGINT))
	for log.Scan() {
	}
	require.NoError(t, agent.Wait())
}

// gossipOf asks an agent where others meet it.
func gossipOf(t *testing.T, url string) string {
	t.Helper()
	out, err := exec.CommandContext(bounded(t), binary(t), "status", "-json", "-http-addr", url).Output()
	require.NoError(t, err)
	var status backend.Status
	require.NoError(t, json.Unmarshal(out, &status))
	return status.GossipAddr
}

// logged waits until an agent has logged a text.
func logged(t *testing.T, log *bufio.Scanner, text string) {
	t.Helper()
	for log.Scan() {
		if strings.Contains(log.Text(), text) {
			return
		}
	}
	require.Fail(t, "the agent ended and has not logged "+text)
}

// An agent that is to leave before it stops, and can not for want of the other
// member, ends with the second signal.
func TestSecondSignal(t *testing.T) {
	first, url, firstLog := runAgent(t, "-name", "first")
	logged(t, firstLog, "serving as a member")
	agent, _, log := runAgent(t, "-name", "second", "-memory", "-seeds", gossipOf(t, url), "-leave-on-stop")
	logged(t, log, "joint=false members=2")
	require.NoError(t, first.Process.Kill())
	require.Error(t, first.Wait())

	require.NoError(t, agent.Process.Signal(syscall.SIGTERM))
	logged(t, log, "leaving the ring before stopping")
	require.NoError(t, agent.Process.Signal(syscall.SIGTERM))
	for log.Scan() {
	}
	var exit *exec.ExitError
	require.ErrorAs(t, agent.Wait(), &exit)
	require.Equal(t, syscall.SIGTERM, exit.Sys().(syscall.WaitStatus).Signal())
}

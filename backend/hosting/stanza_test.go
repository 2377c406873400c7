package hosting

import (
	"bytes"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/internal/agent"
)

func TestDefaults(t *testing.T) {
	s, err := parse(map[string]string{"plugin_path": "p", "memory": "true"}, false)
	require.NoError(t, err)
	require.Equal(t, ModePlugin, s.mode)
	require.Equal(t, "p", s.plugin.Path)
	require.Equal(t, 30*time.Second, s.plugin.StartTimeout)
	require.Equal(t, time.Minute, s.timeout)
	require.True(t, s.haEnabled)
	require.Equal(t, 10*time.Second, s.sessionTTL)
	require.Zero(t, s.lockDelay)
	require.False(t, s.standbyReads)
	require.Equal(t, map[string]string{"memory": "true"}, s.plugin.Configuration)
}

func TestEveryKeyIsRead(t *testing.T) {
	s, err := parse(map[string]string{
		"mode": "plugin", "plugin_path": "p", "plugin_sha256": strings.Repeat("0f", 32), "plugin_start_timeout": "5s", "timeout": "2s", "ha_enabled": "0",
		"session_ttl": "1m", "lock_delay": "3s", "standby_reads": "true", "name": "n", "seeds": `["127.0.0.1:1","127.0.0.1:2"]`,
	}, false)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("0f", 32), s.plugin.SHA256)
	require.Equal(t, 5*time.Second, s.plugin.StartTimeout)
	require.Equal(t, 2*time.Second, s.timeout)
	require.False(t, s.haEnabled)
	require.Equal(t, time.Minute, s.sessionTTL)
	require.Equal(t, 3*time.Second, s.lockDelay)
	require.True(t, s.standbyReads)
	require.Equal(t, map[string]string{"name": "n", "seeds": "127.0.0.1:1,127.0.0.1:2"}, s.plugin.Configuration)
}

func TestStanzaErrors(t *testing.T) {
	for _, test := range []struct {
		key, value string
		want       string
	}{
		{"mode", "process", `mode: it is "process"; allowed are plugin and embedded`},
		{"plugin_start_timeout", "1", `plugin_start_timeout: it is "1"; allowed is 1s to 10m0s`},
		{"timeout", "2h", `timeout: it is "2h"; allowed is 1s to 1h0m0s`},
		{"ha_enabled", "yes", `ha_enabled: it is "yes"; allowed are true and false`},
		{"session_ttl", "9s", `session_ttl: it is "9s"; allowed is 10s to 24h0m0s`},
		{"lock_delay", "61s", `lock_delay: it is "61s"; allowed is 0s to 1m0s`},
		{"lock_delay", "-1s", `lock_delay: it is "-1s"`},
		{"plugin_sha256", "abc", `plugin_sha256: it is "abc"; allowed are 64 hexadecimal digits`},
		{"standby_reads", "", `standby_reads: it is ""; allowed are true and false`},
		{"datadir", "x", `datadir: there is no such key; did you mean "data_dir"?`},
		{"plugin-path", "x", `plugin-path: there is no such key; did you mean "plugin_path"?`},
	} {
		_, err := parse(map[string]string{"plugin_path": "p", test.key: test.value}, false)
		require.ErrorContains(t, err, test.want)
		require.ErrorIs(t, err, backend.ErrInvalid)
	}
	_, err := parse(map[string]string{"sesion_ttl": "1s", "timeout": "1"}, false)
	require.ErrorContains(t, err, "sesion_ttl: ")
	require.ErrorContains(t, err, "timeout: ", "all that is wrong is said")
	require.ErrorContains(t, err, "plugin_path: it is not set")
	for _, key := range []string{"plugin_path", "plugin_sha256", "plugin_start_timeout"} {
		_, err := parse(map[string]string{"mode": "embedded", key: "5s"}, false)
		require.ErrorContains(t, err, key+": the mode is embedded")
	}
}

// A host does not get a ring in memory because it forgot to say where to keep its data;
// and one that asks for it is warned.
func TestRingInMemoryIsAskedFor(t *testing.T) {
	for _, mode := range []map[string]string{{"mode": "embedded"}, {"plugin_path": ringPlugin}} {
		for _, given := range []string{"memory=true", "", "name=n", "memory=false", "expect=1", "role=client"} {
			stanza := maps.Clone(mode)
			if name, value, ok := strings.Cut(given, "="); ok {
				stanza[name] = value
			}
			var log bytes.Buffer
			s, err := Open(stanza, hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn, Mutex: &sync.Mutex{}}))
			if given == "memory=true" {
				require.NoError(t, err)
				require.NoError(t, s.Close())
				require.Contains(t, log.String(), "memory is true: the node keeps nothing on disk")
				continue
			}
			require.ErrorIs(t, err, backend.ErrInvalid, given)
			if given == "role=client" {
				require.ErrorContains(t, err, "seeds: there are none")
			} else {
				require.ErrorContains(t, err, "data_dir: it is not set", given)
			}
		}
	}
}

// The node checks the values of its own settings, wherever it runs.
func TestSettingsErrors(t *testing.T) {
	_, err := Open(map[string]string{"mode": "embedded", "memory": "true", "replicas": "9"}, nil)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, `replicas: it is "9"; allowed is 1 to 5`)
	_, err = Open(map[string]string{"mode": "embedded", "memory": "true", "log_level": "warn"}, nil)
	require.ErrorContains(t, err, "log_level: a node in the host's process logs at the host's level")
	_, err = Open(map[string]string{"plugin_path": memoryPlugin, "memory": "true", "max_value_size": "x"}, nil)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "max_value_size")
	_, err = New(newMemory(), map[string]string{"name": "n"}, nil)
	require.ErrorContains(t, err, "name: the backend is open already")
}

func TestKeysAreNotSettings(t *testing.T) {
	for _, k := range Keys() {
		for _, s := range agent.Settings {
			require.NotEqual(t, k.Name, s.Key)
		}
	}
}

// The documents have every key with its default.
func TestDocuments(t *testing.T) {
	for _, file := range []string{"vault.md", "openbao.md"} {
		text, err := os.ReadFile("../../docs/hosts/" + file)
		require.NoError(t, err)
		for _, k := range Keys() {
			if k.Name == "standby_reads" && file == "vault.md" {
				continue
			}
			def := k.Default
			if def == "" {
				def = "none"
			}
			require.Contains(t, string(text), "| `"+k.Name+"` | "+def+" |", file)
		}
	}
}

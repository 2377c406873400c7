package vault

import (
	"testing"

	"github.com/hashicorp/vault/sdk/physical"
	"github.com/stretchr/testify/require"
)

// kinds are the ways to have a storage. A ring of one member has everything but the
// other members.
var kinds = map[string]map[string]string{
	"memory in a plugin": {"plugin_path": "", "memory": "true"},
	"ring in a plugin":   {"plugin_path": "", "memory": "true", "name": "here"},
	"ring in process":    {"mode": "embedded", "memory": "true"},
}

// each runs a test with every kind of storage.
func each(t *testing.T, f func(t *testing.T, b physical.Backend)) {
	for kind, stanza := range kinds {
		t.Run(kind, func(t *testing.T) {
			with := map[string]string{}
			for k, v := range stanza {
				with[k] = v
			}
			if _, ok := with["plugin_path"]; ok {
				with["plugin_path"] = memoryPlugin
				if with["name"] != "" {
					with["plugin_path"] = ringPlugin
				}
			}
			f(t, open(t, with))
		})
	}
}

// The suites are the SDK's own.

func TestBackend(t *testing.T) {
	each(t, func(t *testing.T, b physical.Backend) { physical.ExerciseBackend(t, b) })
}

func TestListPrefix(t *testing.T) {
	each(t, func(t *testing.T, b physical.Backend) { physical.ExerciseBackend_ListPrefix(t, b) })
}

func TestTransactionalBackend(t *testing.T) {
	each(t, func(t *testing.T, b physical.Backend) { physical.ExerciseTransactionalBackend(t, b) })
}

func TestHABackend(t *testing.T) {
	t.Run("memory in a plugin", func(t *testing.T) {
		b := open(t, map[string]string{"plugin_path": memoryPlugin, "memory": "true"}).(physical.HABackend)
		physical.ExerciseHABackend(t, b, b)
	})
	t.Run("two hosts", func(t *testing.T) {
		shared := newMemory()
		one, two := over(t, shared), over(t, shared)
		physical.ExerciseHABackend(t, one.(physical.HABackend), two.(physical.HABackend))
		require.NotEqual(t, one, two)
	})
}

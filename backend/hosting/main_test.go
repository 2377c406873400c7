package hosting

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/internal/testbinary"
)

// memoryPlugin and ringPlugin are binaries: a plugin with the memory backend, and
// chord-plugin itself.
var memoryPlugin, ringPlugin string

func TestMain(m *testing.M) {
	testbinary.Main(m, "../..", func(dir string) {
		memoryPlugin, ringPlugin = filepath.Join(dir, "testplugin"), filepath.Join(dir, "chord-plugin")
	}, "./plugin/internal/testplugin", "./cmd/chord-plugin")
}

// over returns a store over a backend, until the test ends.
func over(t *testing.T, b backend.Backend) *Store {
	t.Helper()
	s, err := New(b, nil, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func newMemory() *memory.Store { return memory.New(backend.DefaultLimits()) }

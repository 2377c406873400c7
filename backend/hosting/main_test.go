package hosting

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/internal/testbinary"
)

// memoryPlugin is the binary of a plugin with the memory backend.
var memoryPlugin string

func TestMain(m *testing.M) {
	testbinary.Main(m, "../..", func(dir string) { memoryPlugin = filepath.Join(dir, "testplugin") }, "./plugin/internal/testplugin")
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

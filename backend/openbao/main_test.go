package openbao

import (
	"path/filepath"
	"testing"

	"github.com/openbao/openbao/sdk/v2/physical"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/hosting"
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

// open opens what a stanza says, until the test ends.
func open(t *testing.T, stanza map[string]string) physical.Backend {
	t.Helper()
	b, err := Factory(stanza, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.(interface{ Close() error }).Close()) })
	return b
}

// over returns a storage of a host over a backend that hosts may share.
func over(t *testing.T, b backend.Backend, stanza map[string]string) physical.Backend {
	t.Helper()
	s, err := hosting.New(b, stanza, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return New(s)
}

func newMemory() *memory.Store { return memory.New(backend.DefaultLimits()) }

package hosting

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// memoryPlugin is the binary of a plugin with the memory backend.
var memoryPlugin string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "hosting-test-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	memoryPlugin = filepath.Join(dir, "testplugin")
	if out, err := exec.Command("go", "build", "-o", memoryPlugin, "../../plugin/internal/testplugin").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the plugin: %w\n%s", err, out)
	}
	code = m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			return 1, fmt.Errorf("goroutines are left: %w", err)
		}
	}
	return code, nil
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

package openbao

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/openbao/openbao/sdk/v2/physical"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/hosting"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// memoryPlugin and ringPlugin are binaries: a plugin with the memory backend, and
// chord-plugin itself.
var memoryPlugin, ringPlugin string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "openbao-test-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	memoryPlugin, ringPlugin = filepath.Join(dir, "testplugin"), filepath.Join(dir, "chord-plugin")
	cmd := exec.Command("go", "build", "-o", dir, "./plugin/internal/testplugin", "./cmd/chord-plugin")
	cmd.Dir = "../.." // which is a module of its own
	if out, err := cmd.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build the plugins: %w\n%s", err, out)
	}
	code = m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			return 1, fmt.Errorf("goroutines are left: %w", err)
		}
	}
	return code, nil
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

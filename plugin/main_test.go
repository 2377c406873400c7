package plugin_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/internal/testbinary"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// testPlugin is the path of internal/testplugin's binary, oldPlugin that of
// internal/oldplugin's.
var testPlugin, oldPlugin string

// hostVariable makes the test's own binary act as a host: its value is the path
// of the plugin that it loads.
const hostVariable = "CHORD_TEST_HOST_OF"

func TestMain(m *testing.M) {
	if path := os.Getenv(hostVariable); path != "" {
		if err := actAsHost(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testbinary.Main(m, "..", func(dir string) {
		testPlugin, oldPlugin = filepath.Join(dir, "testplugin"), filepath.Join(dir, "oldplugin")
	}, "./plugin/internal/testplugin", "./plugin/internal/oldplugin")
}

// open loads the test plugin, which ends with the test.
func open(t *testing.T, configuration map[string]string) *plugin.Client {
	t.Helper()
	c, err := plugin.Open(t.Context(), plugin.Config{Path: testPlugin, Configuration: configuration})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// within returns a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

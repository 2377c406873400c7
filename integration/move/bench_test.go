package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMove moves a few keys: nothing is lost, and everything is measured.
func TestMove(t *testing.T) {
	var out bytes.Buffer
	b := &bench{
		binary: filepath.Join(t.TempDir(), "chord-plugin"), keys: 500, size: 1024, rate: 100, rest: 500 * time.Millisecond,
		syncRates: []string{"256KiB", "512KiB"}, out: &out,
	}
	said, err := exec.Command("go", "build", "-o", b.binary, "../../cmd/chord-plugin").CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.NoError(t, run(t.Context(), b), "%s", &out)
	t.Log("\n" + out.String())
	for _, want := range []string{"500 keys of 1024 bytes at 3 members", "256KiB", "512KiB", "read", "write"} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "NaN")
	require.Equal(t, 4, strings.Count(out.String(), " and "), "a line each for reads and writes, twice")
}

func TestFigures(t *testing.T) {
	var took []time.Duration
	for i := range 1000 {
		took = append(took, time.Duration(1000-i)*time.Millisecond)
	}
	require.Equal(t, figure{count: 1000, p50: 500 * time.Millisecond, p99: 990 * time.Millisecond, slowest: time.Second}, figureOf(took))
	require.Zero(t, figureOf(nil))
}

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/internal/testbinary"
)

var binary string

func TestMain(m *testing.M) {
	if echoLaunched() {
		serveEcho()
		os.Exit(0)
	}
	testbinary.Main(m, "../../..", func(dir string) { binary = filepath.Join(dir, "chord-plugin") }, "./cmd/chord-plugin")
}

// Everything is measured, and every figure could be one.
func TestBench(t *testing.T) {
	var out bytes.Buffer
	b := &bench{binary: binary, rounds: shortRounds, slice: shortSlice, out: &out}
	require.NoError(t, b.run(t.Context()))
	t.Log("\n" + out.String())
	rows := map[string]int{}
	for _, name := range []string{"in process", "plugin", "echo"} {
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, " "+name+" ") && strings.Contains(line, "KiB") {
				rows[name]++
			}
		}
	}
	n := len(workloads())
	require.Equal(t, map[string]int{"in process": n, "plugin": n, "echo": n}, rows)
	require.Regexp(t, `Goal: at most 1\.3 in both\. Met in \d+ of 10 cases\.`, out.String())
	require.NotContains(t, out.String(), "NaN")
	require.NotContains(t, out.String(), "Inf")
}

// What is measured is what was done: values come back whole, and no process works
// for nothing.
func TestWork(t *testing.T) {
	echo, err := openEcho()
	require.NoError(t, err)
	defer func() { require.NoError(t, echo.close()) }()
	b := &bench{slice: shortSlice}
	f, err := b.work(t.Context(), echo, workload{operation: "get", size: small, clients: 4})
	require.NoError(t, err)
	require.Positive(t, f.rate)
	require.Positive(t, f.p50)
	require.LessOrEqual(t, f.p50, f.p99)

	short := *echo
	short.put = func(ctx context.Context, _ string, _ []byte) error { return echo.put(ctx, "", nil) }
	_, err = b.work(t.Context(), &short, workload{operation: "get", size: small, clients: 1})
	require.ErrorContains(t, err, "0 bytes were read that had not been written")
}

func TestProcessorTime(t *testing.T) {
	before, err := processorTime([]int{os.Getpid()})
	require.NoError(t, err)
	end := time.Now().Add(10 * time.Second)
	for after := before; after < before+2*tick; {
		require.True(t, time.Now().Before(end), "it does not grow")
		after, err = processorTime([]int{os.Getpid()})
		require.NoError(t, err)
	}
	_, err = processorTime([]int{1 << 30})
	require.ErrorIs(t, err, os.ErrNotExist)
}

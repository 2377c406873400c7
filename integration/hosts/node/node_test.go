//go:build node

// Package node_test runs the Node program beside it, which loads the real plugin.
// It needs node, and the packages that npm ci installs here.
package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
	"github.com/chord-plugin/chord-plugin/internal/testbinary"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// The binaries under test: the real one, and one that lacks what it is told to lack.
var binary, testPlugin string

func TestMain(m *testing.M) {
	if _, err := exec.LookPath("node"); err != nil {
		fmt.Fprintln(os.Stderr, "there is no node; install Node 18 or later (Debian: apt-get install nodejs npm)")
		os.Exit(1)
	}
	if _, err := os.Stat("node_modules"); err != nil {
		fmt.Fprintln(os.Stderr, "the packages are missing; run npm ci in integration/hosts/node")
		os.Exit(1)
	}
	testbinary.Main(m, "../../..", func(dir string) {
		binary, testPlugin = filepath.Join(dir, "chord-plugin"), filepath.Join(dir, "testplugin")
	}, "./cmd/chord-plugin", "./plugin/internal/testplugin")
}

// run runs the program and returns what it printed. Its directory for temporary files
// is left empty.
func run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	var out, log bytes.Buffer
	cmd := exec.CommandContext(ctx, "node", append([]string{"example.js"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "CHORD_LOG_LEVEL=not for the plugin")
	cmd.Stdout, cmd.Stderr = &out, &log
	err = cmd.Run()
	left, rerr := os.ReadDir(dir)
	require.NoError(t, errors.Join(rerr, ctx.Err()), "%s", &log)
	require.Empty(t, left)
	return out.String(), log.String(), err
}

// What Node writes to a ring of three Go reads there, and the reverse.
func TestRing(t *testing.T) {
	c, err := cluster.New(cluster.Config{Binary: binary, Dir: t.TempDir(), Members: 3})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(func() {
		cancel()
		require.NoError(t, c.Close())
	})
	require.NoError(t, c.Start(ctx))
	seeds := strings.Join(c.Seeds(), ",")
	store, err := plugin.Open(ctx, plugin.Config{Path: binary, Configuration: map[string]string{"name": "go", "role": "client", "seeds": seeds}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	_, err = store.Put(ctx, "node/gö", []byte("from Go"), backend.PutOptions{})
	require.NoError(t, err)

	out, log, err := run(t, binary, "name=node", "role=client", "seeds="+seeds)
	require.NoError(t, err, log)
	require.Equal(t, `protocol 1: transactions, watches, sessions, locks, fences, expiry
refused: Conflict, key node/greeting
get: hello, ring
list: node/deep/ node/greeting node/gö
deleted: null
closed
`, out)
	e, err := store.Get(ctx, "node/deep/er", backend.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, []byte{0, 255}, e.Value)
	r, err := store.List(ctx, backend.ListQuery{Prefix: "node/"})
	require.NoError(t, err)
	require.Equal(t, []string{"node/deep/er", "node/gö"}, r.Names())
}

// The document shows what the program prints.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../../docs/hosts/other-languages.md")
	require.NoError(t, err)
	out, log, err := run(t, binary, "name=node")
	require.NoError(t, err, log)
	require.Contains(t, strings.ReplaceAll(string(text), "\n    ", "\n"), "name=node\n\n"+out)
}

// What can go wrong is told in words, and nothing is left behind.
func TestRefused(t *testing.T) {
	script := func(line string) string {
		path := filepath.Join(t.TempDir(), "program")
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+line+"\n"), 0o700))
		return path
	}
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"a setting that is not":  {[]string{binary, "nam=n"}, `ChordError: Invalid: nam: there is no such setting; did you mean "name"?`},
		"no program":             {[]string{"/nowhere/plugin"}, "/nowhere/plugin"},
		"another program":        {[]string{script("exit 0")}, "did not start as a plugin"},
		"another line":           {[]string{script("echo Hello, world!; exec cat")}, "did not shake hands: Hello, world!"},
		"a newer protocol":       {[]string{script("echo '1|2|unix|/nowhere|grpc|AAAA'; exec cat")}, "speaks protocol 2, this program 1"},
		"without what it needs":  {[]string{testPlugin, "blind=true"}, "ChordError: Invalid: the plugin test 1.2 has no transactions"},
		"a backend that crashes": {[]string{testPlugin, "open=exit"}, "ChordError: UnknownOutcome"},
	} {
		t.Run(name, func(t *testing.T) {
			out, log, err := run(t, test.args...)
			require.Error(t, err)
			require.Contains(t, log, test.says)
			require.Empty(t, out)
		})
	}
}

// It is an example, to be read and copied.
func TestIsShort(t *testing.T) {
	lines := 0
	for _, file := range []string{"chord.js", "example.js"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		lines += bytes.Count(text, []byte("\n"))
	}
	require.LessOrEqual(t, lines, 150)
}

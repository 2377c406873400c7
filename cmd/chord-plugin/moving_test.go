package main

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/internal/moving"
	"github.com/chord-plugin/chord-plugin/internal/moving/movingtest"
)

// TestMoving runs the scripts in testdata/moving, with the commands of TestScript, the
// agent of TestOperator, whose keys are in memory, and
//
//	snapshot FILE KEY=VALUE...    write a snapshot of Vault's Raft storage
//	cut FILE BYTES                take bytes off the end of a file
func TestMoving(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/moving",
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": until, "ports": ports, "snapshot": makeSnapshot, "cut": cut,
			"agent": startScripted,
		},
	})
}

func makeSnapshot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: snapshot FILE KEY=VALUE...")
	}
	var entries []movingtest.Entry
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		entries = append(entries, movingtest.Entry{Key: key, Value: value})
	}
	var packed bytes.Buffer
	ts.Check(movingtest.Pack(&packed, movingtest.Files(movingtest.State(entries...))...))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), packed.Bytes(), 0o600))
}

func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FILE BYTES")
	}
	text := []byte(ts.ReadFile(args[0]))
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text[:len(text)-n], 0o600))
}

func TestMovingText(t *testing.T) {
	require.Equal(t, "read: 1 key, 1.5 KiB", movingText(moving.Progress{Doing: "read", Keys: 1, Bytes: 1536}))
	require.Equal(t, "written: 5 keys of 20, 25.0 %, 2 bytes", movingText(moving.Progress{Doing: "written", Keys: 5, Of: 20, Bytes: 2}))
	var text bytes.Buffer
	now := time.Unix(0, 0)
	show := showMoving(&progress{w: &text, terminal: true}, func() time.Time { return now })
	for n := range 4 {
		show(moving.Progress{Doing: "read", Keys: n})
		now = now.Add(movingEvery / 2)
	}
	require.Equal(t, "\r\x1b[Kread: 2 keys", text.String())
}

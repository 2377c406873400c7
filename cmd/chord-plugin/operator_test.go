package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// TestOperator runs the scripts in testdata/operator. They talk to an agent with an
// empty store in memory that answers with what a file says of the ring, started by
//
//	agent FILE
//
// and then
//
//	asked
//
// prints what it was asked to change, a line of JSON each;
//
//	idfrom FILE NAME
//
// sets a variable to the line in a file.
func TestOperator(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/operator",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": until, "agent": startScripted, "asked": printAsked, "idfrom": idFrom,
		},
	})
}

// scripted is an agent that answers what it is told. Lists are given out one by
// one, the last for ever.
type scripted struct {
	Rings  []backend.Ring
	Report backend.RemoveReport
	// Confirmed is the report when Confirm was given.
	Confirmed backend.RemoveReport
	Pages     []backend.VerifyPage
	State     backend.Status
	// Leaves is after how many looks at the ring leaving ends; 0 is at once.
	Leaves int
	// Fails is the error of a change.
	Fails string

	mu    sync.Mutex
	looks int
	look  chan struct{} // closed and made anew with every look
	pages int
	asked []string
}

func startScripted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: agent FILE")
	}
	s := &scripted{look: make(chan struct{})}
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	d.DisallowUnknownFields()
	ts.Check(d.Decode(s))
	store := memory.New(backend.DefaultLimits())
	handler := httpapi.New(httpapi.Config{Backend: store, Admin: s})
	server := httptest.NewServer(handler)
	ts.Defer(func() {
		server.Close()
		ts.Check(handler.Close())
		ts.Check(store.Close())
	})
	ts.Setenv("CHORD_HTTP_ADDR", server.URL)
	running.Store(ts, s)
	ts.Defer(func() { running.Delete(ts) })
}

// running are the scripts' agents.
var running sync.Map

func printAsked(ts *testscript.TestScript, neg bool, args []string) {
	s, ok := running.Load(ts)
	if neg || len(args) != 0 || !ok {
		ts.Fatalf("usage: asked, behind agent FILE")
	}
	agent := s.(*scripted)
	agent.mu.Lock()
	defer agent.mu.Unlock()
	for _, line := range agent.asked {
		_, err := fmt.Fprintln(ts.Stdout(), line)
		ts.Check(err)
	}
	agent.asked = nil
}

func idFrom(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: idfrom FILE NAME")
	}
	ts.Setenv(args[1], strings.TrimSpace(ts.ReadFile(args[0])))
}

// note remembers what it was asked.
func (s *scripted) note(what string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, what+" "+string(text))
	if s.Fails != "" {
		return backend.Errorf(backend.Invalid, "", "%s", s.Fails)
	}
	return nil
}

func (s *scripted) Status(context.Context) (*backend.Status, error) {
	status := s.State
	status.Name, status.State, status.RingID = "a", "serving", "ring-1"
	return &status, nil
}

func (s *scripted) Members(context.Context) ([]backend.Member, error) { return nil, nil }

func (s *scripted) Locate(context.Context, string) (*backend.Location, error) {
	return nil, backend.Errorf(backend.Internal, "", "nobody asks")
}

func (s *scripted) Ring(context.Context) (*backend.Ring, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.Rings) == 0 {
		return nil, backend.Errorf(backend.NotReady, "", "there is no ring yet")
	}
	ring := s.Rings[min(s.looks, len(s.Rings)-1)]
	s.looks++
	close(s.look)
	s.look = make(chan struct{})
	return &ring, nil
}

func (s *scripted) Leave(ctx context.Context) error {
	if err := s.note("leave", struct{}{}); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		looks, look := s.looks, s.look
		s.mu.Unlock()
		if looks >= s.Leaves {
			return nil
		}
		select {
		case <-look:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *scripted) Remove(_ context.Context, req backend.RemoveRequest) (*backend.RemoveReport, error) {
	if err := s.note("remove", req); err != nil {
		return nil, err
	}
	report := s.Report
	if req.Confirm {
		report = s.Confirmed
	}
	return &report, nil
}

func (s *scripted) Verify(_ context.Context, q backend.VerifyQuery) (*backend.VerifyPage, error) {
	if err := s.note("verify", q); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	page := s.Pages[min(s.pages, len(s.Pages)-1)]
	s.pages++
	return &page, nil
}

// TestProgress: a terminal shows one line that changes, else there is a line every
// few seconds when there is news.
func TestProgress(t *testing.T) {
	begin := time.Unix(0, 0)
	show := func(onTerminal bool) string {
		var text bytes.Buffer
		p := &progress{w: &text, terminal: onTerminal}
		require.NoError(t, p.end())
		for i, line := range []string{"one", "one", "two", "three", "four", "five", "six", "seven", "seven"} {
			require.NoError(t, p.show(begin.Add(time.Duration(i)*time.Second), line))
		}
		require.NoError(t, p.show(begin.Add(time.Minute), strings.Repeat("\u00e9", 80)))
		require.NoError(t, p.end())
		require.NoError(t, p.end())
		return text.String()
	}
	require.Equal(t, "one\nfive\n"+strings.Repeat("\u00e9", 80)+"\n", show(false))
	const clear = "\r\x1b[K"
	require.Equal(t, clear+"one"+clear+"two"+clear+"three"+clear+"four"+clear+"five"+clear+"six"+clear+"seven"+
		clear+strings.Repeat("\u00e9", 76)+"..."+clear, show(true))
}

func TestWordsForNumbers(t *testing.T) {
	require.Equal(t, "0 bytes", size(0))
	require.Equal(t, "1023 bytes", size(1023))
	require.Equal(t, "1.0 KiB", size(1024))
	require.Equal(t, "32.0 MiB", size(32<<20))
	require.Equal(t, "1536.0 TiB", size(1536<<40))
	require.Equal(t, "1.5s", seconds(1.46))
	require.Equal(t, "1m1s", seconds(61.2))
	require.Equal(t, "12.5 %", percent(0.125))
	require.Equal(t, `"a"`, quoted([]string{"a"}))
	require.Equal(t, `"a", "b\n" and "c"`, quoted([]string{"a", "b\n", "c"}))
	require.Equal(t, "", quoted(nil))
}

func TestRepairText(t *testing.T) {
	require.Empty(t, repairText(nil))
	require.Equal(t, "no whole comparison yet; 0 copies mended here, 0 elsewhere", repairText(&backend.RepairStatus{LastSeconds: -1}))
	require.Equal(t, "compares with b, 25.0 % done; has still to compare with b, c; the last whole comparison ended 1m30s ago; 3 copies mended here, 4 elsewhere",
		repairText(&backend.RepairStatus{Running: true, With: "b", Done: 0.25, Behind: []string{"b", "c"}, Received: 3, Given: 4, LastSeconds: 90}))
}

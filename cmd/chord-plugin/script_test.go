package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/chord-plugin/chord-plugin/internal/certificates"
)

// TestScript runs the scripts in testdata/script, with these commands besides
// testscript's own:
//
//	exits CODE PROGRAM ARGS...     the program ends with this exit code
//	until PATTERN PROGRAM ARGS...  run it again and again until it prints this
//	ports NAME...                  set variables to free ports on loopback
//	allbytes FILE                  write a file that holds every byte
//	certificates DIR               write ca.pem, cert.pem and key.pem for 127.0.0.1
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			// With -race each command would wait a second before it ends.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": until, "ports": ports, "allbytes": allBytes, "certificates": writeCertificates,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("it ended with %d, not %d", got, want)
	}
}

const (
	untilDeadline = 30 * time.Second
	untilPause    = 50 * time.Millisecond
)

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN PROGRAM ARGS...")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	again := time.NewTicker(untilPause)
	defer again.Stop()
	deadline := time.After(untilDeadline)
	for {
		_ = ts.Exec(args[1], args[2:]...) // failing is printing something else
		if pattern.MatchString(ts.ReadFile("stdout")) || pattern.MatchString(ts.ReadFile("stderr")) {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			ts.Fatalf("%s was not printed within %v", args[0], untilDeadline)
		}
	}
}

// The ports are below those that the system gives to outgoing connections, and
// none is given twice, so that scripts that run at the same time do not meet.
const firstPort, lastPort = 20000, 32000

var given = struct {
	sync.Mutex
	next int
}{next: firstPort + os.Getpid()%(lastPort-firstPort)}

func ports(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: ports NAME...")
	}
	given.Lock()
	defer given.Unlock()
	for range lastPort - firstPort {
		port := strconv.Itoa(given.next)
		if given.next++; given.next == lastPort {
			given.next = firstPort
		}
		if !free("127.0.0.1:" + port) {
			continue
		}
		ts.Setenv(args[0], port)
		if args = args[1:]; len(args) == 0 {
			return
		}
	}
	ts.Fatalf("there are no free ports")
}

// free reports whether an address can be listened at, TCP and UDP.
func free(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return p.Close() == nil
}

func allBytes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: allbytes FILE")
	}
	var b strings.Builder
	for i := range 256 {
		b.WriteByte(byte(i))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

func writeCertificates(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certificates DIR")
	}
	ts.Check(certificates.Write(ts.MkAbs(args[0])))
}

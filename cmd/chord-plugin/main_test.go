package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain makes the test's binary act as chord-plugin when it is called so,
// for the scripts and for plugin.Open.
func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){"chord-plugin": main})
}

// leakless fails when tests leave goroutines behind.
type leakless struct{ *testing.M }

func (m leakless) Run() int {
	if signal.Ignored(syscall.SIGHUP) { // as under nohup, which programs that are started would inherit
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	code := m.M.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintf(os.Stderr, "goroutines are left: %v\n", err)
			return 1
		}
	}
	return code
}

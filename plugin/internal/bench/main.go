// Command bench is what `make bench-plugin` runs: it measures what the plugin adds
// to an operation over the same node in the host's own process, beside a bare gRPC
// echo in a plugin of its own, over the same kind of connection.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if echoLaunched() {
		serveEcho()
		return
	}
	b := &bench{out: os.Stdout}
	flag.StringVar(&b.binary, "bin", "bin/chord-plugin", "the chord-plugin binary")
	flag.IntVar(&b.rounds, "rounds", 5, "how often each thing is measured")
	flag.DurationVar(&b.slice, "slice", 400*time.Millisecond, "how long it is measured each time")
	short := flag.Bool("short", false, "measure for some seconds only, to see that it works: the figures say little")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if *short {
		b.rounds, b.slice = shortRounds, shortSlice
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := b.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

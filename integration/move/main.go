// Command move is what `make bench-reshape` runs: three agents as processes on
// loopback, filled with keys, and a fourth that joins and copies them all, at
// several rates, while clients read and write. It prints what an operation takes
// at rest and meanwhile, side by side.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	b := &bench{out: os.Stdout}
	flag.StringVar(&b.binary, "bin", "bin/chord-plugin", "the chord-plugin binary")
	flag.IntVar(&b.keys, "keys", 100_000, "how many keys move")
	flag.IntVar(&b.size, "size", 1024, "the bytes of each value")
	flag.IntVar(&b.rate, "rate", 300, "operations a second, of which a third are writes")
	flag.DurationVar(&b.rest, "rest", 10*time.Second, "how long the ring is measured at rest before each move")
	rates := flag.String("sync-rates", ",unlimited", "the sync rates to try, separated by commas; an empty one is the default of the agent")
	flag.Parse()
	b.syncRates = strings.Split(*rates, ",")
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "move: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, b)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "move:", err)
		os.Exit(1)
	}
}

// run runs the benchmark in a directory of its own, which it removes.
func run(ctx context.Context, b *bench) (err error) {
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "chord-move-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	defer func() { err = errors.Join(err, b.close()) }()
	return b.play(ctx)
}

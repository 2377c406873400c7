// Command demo is what `make run` runs: five agents as processes on loopback, a
// host that loads the plugin and works with 2,000 keys, two members that are
// killed while it does, and a check that nothing was lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
)

func main() {
	binary := flag.String("bin", "bin/chord-plugin", "the chord-plugin binary")
	keepDefault, _ := strconv.ParseBool(os.Getenv("KEEP")) // anything else is no
	keep := flag.Bool("keep", keepDefault, "leave the ring up until Ctrl-C and say what to try; also KEEP=1 in the environment")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *binary, *keep, os.Stdout)
	stopped := ctx.Err() != nil
	stop()
	switch {
	case err != nil && stopped:
		fmt.Fprintln(os.Stderr, "demo: stopped; everything is cleaned up")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run runs the demo in a directory of its own, which it removes.
func run(ctx context.Context, binary string, keep bool, out *os.File) (err error) {
	binary, err = filepath.Abs(binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "chord-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{binary: binary, dir: dir, keys: 2000, workers: 16, out: out}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.play(ctx); err != nil {
		return err
	}
	if keep {
		return d.stay(ctx)
	}
	return nil
}

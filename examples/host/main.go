// Command host is a program that keeps its data with chord-plugin: it loads the
// plugin's binary, writes, reads, lists and deletes a few keys, and says what it
// did. Copy what you need.
//
//	go build -o bin/chord-plugin ./cmd/chord-plugin
//	go run ./examples/host -plugin bin/chord-plugin
//	go run ./examples/host -plugin bin/chord-plugin -seeds 127.0.0.1:7946
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin"
)

func main() {
	path := flag.String("plugin", "bin/chord-plugin", "the plugin's binary")
	seeds := flag.String("seeds", "", "gossip addresses of the ring's members, with commas; empty: a ring of one in memory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *path, *seeds, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "host:", err)
		os.Exit(1)
	}
}

// timeout bounds each operation. Without a deadline one waits until most owners
// of its key live.
const timeout = 10 * time.Second

func run(ctx context.Context, path, seeds string, stdout, stderr io.Writer) (err error) {
	// The names are those of the agent's configuration file.
	configuration := map[string]string{}
	if seeds != "" {
		configuration["role"] = "client" // use the ring's members and keep nothing here
		configuration["seeds"] = seeds
	}
	store, err := plugin.Open(ctx, plugin.Config{
		Path:          path,
		Configuration: configuration,
		Logger:        hclog.New(&hclog.LoggerOptions{Name: "host", Level: hclog.Warn, Output: stderr}),
	})
	if err != nil {
		return fmt.Errorf("load the plugin: %w", err)
	}
	// A plugin that dies closes store.Done(); plugin.Open starts another one.
	defer func() { err = errors.Join(err, store.Close()) }()

	for _, key := range []string{"host/colour", "host/size", "host/size/unit"} {
		index, err := put(ctx, store, key, []byte("value of "+key))
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "wrote %s at index %d\n", key, index)
	}

	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	entry, err := store.Get(ctx, "host/colour", backend.GetOptions{})
	if err != nil {
		return err
	}
	if entry != nil { // a missing key is nil, and no error
		fmt.Fprintf(stdout, "read %q\n", entry.Value)
	}

	// Only if nobody wrote it in between; 0 would be "only if it does not exist".
	_, err = store.Put(ctx, "host/colour", []byte("blue"), backend.PutOptions{If: backend.IfIndex(1)})
	if backend.CodeOf(err) != backend.Conflict {
		return fmt.Errorf("a write on condition of an index that never was: %v", err)
	}
	fmt.Fprintln(stdout, "a condition that does not hold changes nothing:", err)

	list, err := store.List(ctx, backend.ListQuery{Prefix: "host/", Separator: "/"})
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "listed %q\n", list.Names())

	for key, err := range backend.Keys(ctx, store, "host/") {
		if err == nil {
			err = store.Delete(ctx, key, backend.DeleteOptions{})
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(stdout, "deleted", key)
	}
	return nil
}

// attempts is how often put tries.
const attempts = 3

// put writes a key and shows what the errors of a write mean.
func put(ctx context.Context, store backend.Backend, key string, value []byte) (index uint64, err error) {
	for range attempts {
		attempt, cancel := context.WithTimeout(ctx, timeout)
		index, err = store.Put(attempt, key, value, backend.PutOptions{})
		cancel()
		switch backend.CodeOf(err) {
		case backend.UnknownOutcome:
			// It may have happened, or may still happen. A plain write of the same value
			// can simply be repeated. One that depends on what was there can not: read
			// the key first, and decide by what it holds.
		case backend.NoQuorum, backend.NotReady:
			// Nothing happened: too few owners of the key live, or there is no ring yet.
		default:
			return index, err // done, or such as TooLarge: trying again would not help
		}
	}
	return 0, err
}

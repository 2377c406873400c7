package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// shortRounds and shortSlice are those of a run that only shows that it works.
	shortRounds = 1
	shortSlice  = 100 * time.Millisecond
	// opTimeout is the deadline of each operation: hosts set one.
	opTimeout = 20 * time.Second
	// openTimeout bounds the start of everything.
	openTimeout = time.Minute
	// keys is how many keys each client has, which it takes in turns.
	keys = 4
	// pause is what a client waits between operations that has more to do than these,
	// as a host has. A node that is called without a pause does not come to rest, and
	// takes less than hosts see of it.
	pause = time.Millisecond
	// small and large are the sizes of values, in bytes.
	small, large = 1 << 10, 64 << 10
)

// workload is one of the cases: clients side by side that do one operation with
// values of a size, with or without a pause after each.
type workload struct {
	operation     string
	size, clients int
	pause         time.Duration
}

func workloads() []workload {
	var all []workload
	for _, w := range []workload{
		{size: small, clients: 1}, {size: large, clients: 1}, {size: small, clients: 64}, {size: large, clients: 64},
		{size: small, clients: 1, pause: pause},
	} {
		for _, w.operation = range []string{"get", "put"} {
			all = append(all, w)
		}
	}
	return all
}

// bench is one run.
type bench struct {
	binary string
	rounds int
	slice  time.Duration
	out    io.Writer

	inProcess, plugin, echo *target
}

// run measures everything and prints it.
func (b *bench) run(ctx context.Context) (err error) {
	if b.rounds < 1 || b.slice <= 0 {
		return fmt.Errorf("%d rounds of %v are none", b.rounds, b.slice)
	}
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	opened, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	for _, open := range []struct {
		to *(*target)
		by func() (*target, error)
	}{
		{&b.inProcess, openNode},
		{&b.plugin, func() (*target, error) { return openPlugin(opened, b.binary) }},
		{&b.echo, openEcho},
	} {
		t, err := open.by()
		if err != nil {
			return err
		}
		*open.to = t
		defer func() { err = errors.Join(err, t.close()) }()
	}
	begun := time.Now()
	results, err := b.measure(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "a ring of one in memory; %d rounds of %v each, side by side, in %.0f s; medians over the rounds\n\n",
		b.rounds, b.slice, time.Since(begun).Seconds())
	return printTable(b.out, results)
}

// measure runs every case in every round, the targets of a case one right after the
// other, in an order that changes from round to round.
func (b *bench) measure(ctx context.Context) ([]*result, error) {
	var results []*result
	for _, w := range workloads() {
		results = append(results, &result{workload: w})
	}
	for n := range b.rounds {
		for _, r := range results {
			measured := round{}
			targets := []*target{b.inProcess, b.plugin, b.echo}
			into := []*figures{&measured.inProcess, &measured.plugin, &measured.echo}
			for i := range targets {
				i = (i + n) % len(targets)
				f, err := b.work(ctx, targets[i], r.workload)
				if err != nil {
					return nil, fmt.Errorf("%s, %s of %d bytes, %d clients: %w", targets[i].name, r.operation, r.size, r.clients, err)
				}
				*into[i] = f
			}
			r.rounds = append(r.rounds, measured)
		}
	}
	return results, nil
}

// client is one of those that work side by side: it does one operation after the
// other.
type client struct {
	keys [keys]string
	took []time.Duration
}

// work lets clients work for a slice.
func (b *bench) work(ctx context.Context, t *target, w workload) (figures, error) {
	value := bytes.Repeat([]byte{'v'}, w.size)
	clients := make([]client, w.clients)
	for i := range clients {
		for k := range clients[i].keys {
			key := fmt.Sprintf("bench/%03d/%02d", i, k)
			clients[i].keys[k] = key
			if err := t.put(ctx, key, value); err != nil {
				return figures{}, err
			}
		}
	}
	runtime.GC() // so that no target pays for the one before it
	pids := append([]int{os.Getpid()}, t.pids...)
	before, err := processorTime(pids)
	if err != nil {
		return figures{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var over atomic.Bool
	timer := time.AfterFunc(b.slice, func() { over.Store(true) })
	defer timer.Stop()
	begun := time.Now()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c := &clients[i]
			for n := 0; !over.Load() || n == 0; n++ {
				start := time.Now()
				if err := t.one(ctx, w, c.keys[n%keys], value); err != nil {
					cancel(err)
					return
				}
				c.took = append(c.took, time.Since(start))
				if w.pause > 0 {
					time.Sleep(w.pause)
				}
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(begun)
	after, err := processorTime(pids)
	if err != nil {
		return figures{}, err
	}
	if err := context.Cause(ctx); err != nil {
		return figures{}, err
	}
	return figuresOf(clients, elapsed, after-before), nil
}

// one does one operation.
func (t *target) one(ctx context.Context, w workload, key string, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if w.operation == "put" {
		return t.put(ctx, key, value)
	}
	got, err := t.get(ctx, key)
	if err == nil && len(got) != len(value) {
		return fmt.Errorf("%d bytes were read that had not been written", len(got))
	}
	return err
}

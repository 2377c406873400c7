package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
	"github.com/chord-plugin/chord-plugin/plugin"
)

const (
	// limit bounds the whole demo.
	limit = 2 * time.Minute
	// aroundKills is how long after the kills an operation counts as around them.
	aroundKills = 2 * time.Second
	// listEvery is how many keys are written between two listings.
	listEvery = 100
)

// demo is one run.
type demo struct {
	binary, dir   string
	keys, workers int
	out           io.Writer

	ring   *cluster.Cluster
	plugin *plugin.Client
	host   *store // the plugin, as the host uses it
	kills  span   // the kills and what counts as around them
}

func (d *demo) say(step, format string, args ...any) {
	fmt.Fprintf(d.out, "  %-9s%s\n", step, fmt.Sprintf(format, args...))
}

// play runs the demo. It fails when anything did, or when a key was lost.
func (d *demo) play(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	fmt.Fprintln(d.out, "Five members of a ring as processes on loopback, and a host that loads the plugin.")
	fmt.Fprintln(d.out)
	for _, step := range []func(context.Context) error{d.start, d.load, d.write, d.restart, d.readBack, d.delete} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// start starts the members.
func (d *demo) start(ctx context.Context) (err error) {
	begun := time.Now()
	if d.ring, err = cluster.New(cluster.Config{Binary: d.binary, Dir: d.dir, Members: 5}); err != nil {
		return err
	}
	if err := d.ring.Start(ctx); err != nil {
		return err
	}
	d.say("ring", "members a, b, c, d and e founded it after %s ms", milliseconds(time.Since(begun)))
	return nil
}

// load loads the plugin, as any host would: see examples/host.
func (d *demo) load(ctx context.Context) (err error) {
	begun := time.Now()
	d.plugin, err = plugin.Open(ctx, plugin.Config{
		Path:          d.binary,
		Configuration: map[string]string{"role": "client", "seeds": strings.Join(d.ring.Seeds(), ",")},
		Logger:        hclog.NewNullLogger(),
	})
	if err != nil {
		return fmt.Errorf("load the plugin: %w", err)
	}
	d.host = &store{backend: d.plugin, measure: &measure{}}
	if _, err := d.host.list(ctx); err != nil {
		return err
	}
	d.host.measure = &measure{} // what the start took is no figure of the ring
	d.say("host", "loaded the plugin, a client of the ring, as process %d after %s ms", d.plugin.PID(), milliseconds(time.Since(begun)))
	return nil
}

// victims are the members that are killed.
func (d *demo) victims() []*cluster.Member {
	return []*cluster.Member{d.ring.Members[1], d.ring.Members[3]}
}

// write writes all keys, reads each at once and lists now and then; half way two
// members are killed while it goes on.
func (d *demo) write(ctx context.Context) error {
	var once sync.Once
	var killed error
	err := each(ctx, d.keys, d.workers, func(ctx context.Context, i int) error {
		if i >= d.keys/2 {
			// Whoever is first kills; the others go on meanwhile.
			first := false
			once.Do(func() { first = true })
			if first {
				d.kills.begin = time.Now()
				for _, m := range d.victims() {
					killed = errors.Join(killed, m.Kill())
				}
				d.kills.end = time.Now().Add(aroundKills)
			}
		}
		if err := d.host.put(ctx, i); err != nil {
			return err
		}
		if right, err := d.host.get(ctx, i); err != nil || !right {
			return errors.Join(err, fmt.Errorf("key %q is not what was just written", keyOf(i)))
		}
		if i%listEvery == listEvery-1 {
			_, err := d.host.list(ctx)
			return err
		}
		return nil
	})
	if err := errors.Join(err, killed); err != nil {
		return err
	}
	puts := d.host.measure.of("put")
	if last := puts[len(puts)-1].end; last.Before(d.kills.end) {
		d.kills.end = last // nobody wanted to write after that
	}
	d.say("write", "%s keys with %d goroutines, each read at once", thousands(d.keys), d.workers)
	d.say("kill", "b and d with SIGKILL half way; the longest pause between two writes then was %s ms", milliseconds(pause(puts, d.kills)))
	n, err := d.host.list(ctx)
	if err != nil {
		return err
	}
	d.say("list", "%s of %s keys, with two of five members down", thousands(n), thousands(d.keys))
	if n != d.keys {
		return fmt.Errorf("the list has %d keys and should have %d", n, d.keys)
	}
	return nil
}

// restart starts the victims again and reads all keys at each of them, those
// that were written while it was down included.
func (d *demo) restart(ctx context.Context) error {
	for _, m := range d.victims() {
		begun := time.Now()
		if err := m.Restart(ctx); err != nil {
			return err
		}
		d.say("restart", "%s serves again after %s ms", m.Name, milliseconds(time.Since(begun)))
	}
	for _, m := range d.victims() {
		client, err := m.Client()
		if err != nil {
			return err
		}
		wrong, err := (&store{backend: client, measure: &measure{}}).wrong(ctx, d.keys, d.workers)
		if err != nil {
			return fmt.Errorf("read at %s: %w", m.Name, err)
		}
		d.say("catch up", "read at %s: %s of %s keys are right, though it missed half of the writes", m.Name, thousands(d.keys-wrong), thousands(d.keys))
		if wrong > 0 {
			return fmt.Errorf("%d keys are wrong at %s", wrong, m.Name)
		}
	}
	return nil
}

// readBack reads everything through the plugin and prints the table.
func (d *demo) readBack(ctx context.Context) error {
	lost, err := d.host.wrong(ctx, d.keys, d.workers)
	if err != nil {
		return err
	}
	d.say("read", "all %s keys through the plugin again", thousands(d.keys))
	if lost > 0 {
		return fmt.Errorf("keys lost: %d", lost)
	}
	return nil
}

// delete deletes all keys, and shows the figures.
func (d *demo) delete(ctx context.Context) error {
	err := each(ctx, d.keys, d.workers, d.host.delete)
	if err != nil {
		return err
	}
	left, err := d.host.list(ctx)
	if err != nil {
		return err
	}
	d.say("delete", "all keys; %d are left", left)
	if left > 0 {
		return fmt.Errorf("%d deleted keys are still listed", left)
	}
	fmt.Fprintln(d.out)
	if err := d.host.measure.table(d.out, d.kills, "put", "get", "list", "delete"); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\n  operations tried again: %d\n  keys lost: 0\n", d.host.retried.Load())
	return nil
}

// stay leaves the ring up, with some keys, until ctx ends.
func (d *demo) stay(ctx context.Context) error {
	for key, value := range map[string]string{"greeting": "hello", "colours/red": "#ff0000", "colours/blue": "#0000ff"} {
		if _, err := d.plugin.Put(ctx, key, []byte(value), backend.PutOptions{}); err != nil {
			return err
		}
	}
	addr := d.ring.Members[0].HTTPAddr
	fmt.Fprintf(d.out, "\nThe ring stays up. Try, in another terminal:\n\n  export CHORD_HTTP_ADDR=%s\n", addr)
	for _, args := range []string{"kv get greeting", "kv put greeting 'hello again'", "kv list -values colours/", "members", "ring", "locate greeting", "status"} {
		fmt.Fprintf(d.out, "  %s %s\n", d.binary, args)
	}
	fmt.Fprintf(d.out, "  curl http://%s/v1/kv/greeting?raw\n\n", addr)
	for _, m := range d.ring.Members {
		fmt.Fprintf(d.out, "  member %s: process %d, HTTP API %s, gossip %s, log %s\n", m.Name, m.PID(), m.HTTPAddr, m.GossipAddr, m.LogFile)
	}
	fmt.Fprintf(d.out, "\nKill up to two of the processes: the rest goes on. Ctrl-C ends the ring and removes its data.\n")
	<-ctx.Done()
	fmt.Fprintln(d.out, "\nThe ring ends.")
	return nil
}

// close ends the plugin and the ring.
func (d *demo) close() error {
	var errs []error
	if d.plugin != nil {
		errs = append(errs, d.plugin.Close())
	}
	if d.ring != nil {
		errs = append(errs, d.ring.Close())
	}
	return errors.Join(errs...)
}

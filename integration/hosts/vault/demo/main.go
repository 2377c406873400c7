// Command demo is what `make vault-demo` runs: from an empty directory it builds Vault
// and the plugin, starts three Vault servers whose plugins are their only storage,
// writes secrets, kills the active server meanwhile, and reads all of them again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/chord-plugin/chord-plugin/integration/hosts/vault/fleet"
)

const (
	// buildLimit bounds the building, which takes minutes the first time, and playLimit
	// the rest.
	buildLimit = 40 * time.Minute
	playLimit  = 3 * time.Minute
	// writers write at the same time; some is how many writes are acknowledged before
	// something is done, and after.
	writers = 4
	some    = 200
)

func main() {
	module := flag.String("module", ".", "the `DIRECTORY` of the module integration/hosts/vault")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "vault-demo: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *module, os.Stdout)
	stopped := ctx.Err() != nil
	stop()
	switch {
	case err != nil && stopped:
		fmt.Fprintln(os.Stderr, "vault-demo: stopped; everything is cleaned up")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "vault-demo:", err)
		os.Exit(1)
	}
}

// run runs the demo in a directory of its own, which it removes.
func run(ctx context.Context, module string, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "vault-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	fmt.Fprint(out, "Three Vault servers on loopback; each one's only storage is its plugin, and the plugins are one ring.\n\n")
	d := &demo{out: out}
	if err := d.build(ctx, module, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, playLimit)
	defer cancel()
	return d.play(ctx)
}

// demo is one run.
type demo struct {
	*fleet.Fleet
	out io.Writer
}

func (d *demo) say(step, format string, args ...any) {
	fmt.Fprintf(d.out, "  %-9s%s\n", step, fmt.Sprintf(format, args...))
}

func seconds(since time.Time) string { return fmt.Sprintf("%.1f s", time.Since(since).Seconds()) }

func (d *demo) build(ctx context.Context, module, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	d.say("build", "Vault 1.14.2 with the storage chord, and chord-plugin; the first time it takes minutes")
	begun := time.Now()
	vault, plugin, err := fleet.Build(ctx, module, dir)
	if err != nil {
		return err
	}
	d.say("", "done after %s", seconds(begun))
	d.Fleet, err = fleet.New(fleet.Config{Vault: vault, Plugin: plugin, Dir: dir, Servers: 3})
	return err
}

// play runs the demo. It fails when anything did, or when a secret was lost.
func (d *demo) play(ctx context.Context) error {
	begun := time.Now()
	if err := d.Start(ctx); err != nil {
		return err
	}
	for _, s := range d.Servers {
		plugin, err := s.PluginPID()
		if err != nil {
			return err
		}
		d.say("start", "%s as process %d, http://%s, with its plugin as process %d", s.Name, s.PID(), s.Addr, plugin)
	}
	d.say("", "all answer after %s; the plugins have founded the ring", seconds(begun))
	begun = time.Now()
	if err := d.Init(ctx); err != nil {
		return err
	}
	if err := d.Unseal(ctx, d.Servers...); err != nil {
		return err
	}
	active, err := d.Active(ctx)
	if err != nil {
		return err
	}
	if err := d.Mount(ctx, active); err != nil {
		return err
	}
	d.say("unseal", "initialised, and all unsealed with 3 of 5 keys, after %s; %s is active, the others stand by", seconds(begun), active.Name)

	l := d.StartLoad(ctx, "demo", writers)
	defer l.Stop()
	if err := l.WaitAcknowledged(ctx, some); err != nil {
		return err
	}
	d.say("write", "%d writers write secrets through all servers in turn, and go on", writers)
	if err := d.kill(ctx, l, active); err != nil {
		return err
	}
	return d.count(ctx, l.Stop())
}

// kill kills the active server, waits for the next, and brings the old one back.
func (d *demo) kill(ctx context.Context, l *fleet.Load, old *fleet.Server) error {
	begun := time.Now()
	plugin, err := old.Kill()
	if err != nil {
		return err
	}
	d.say("kill", "%s, which is active, with SIGKILL", old.Name)
	if err := old.WaitGone(ctx, plugin); err != nil {
		return err
	}
	d.say("", "its plugin noticed and ended by itself after %s", seconds(begun))
	next, err := d.Active(ctx, old)
	if err != nil {
		return err
	}
	d.say("", "%s is active %s after the SIGKILL", next.Name, seconds(begun))
	if err := l.WaitAcknowledged(ctx, some); err != nil {
		return err
	}
	begun = time.Now()
	if err := old.Start(); err != nil {
		return err
	}
	if err := old.WaitHealth(ctx, http.StatusServiceUnavailable); err != nil {
		return err
	}
	if err := d.Unseal(ctx, old); err != nil {
		return err
	}
	d.say("restart", "%s is unsealed and stands by after %s", old.Name, seconds(begun))
	return l.WaitAcknowledged(ctx, some)
}

// count reads every secret that was acknowledged, and fails when one is not there.
func (d *demo) count(ctx context.Context, r *fleet.Report) error {
	lost, err := d.Lost(ctx, r)
	if err != nil {
		return err
	}
	d.say("read", "all secrets through all servers in turn")
	fmt.Fprintf(d.out, "\n  requests %d, %d of them with success\n  writes acknowledged %d, in %d secrets\n  longest pause between two of them %.1f s\n  stale answers %d\n  secrets lost %d\n",
		r.Asked, r.Answered, r.Acknowledged, r.Secrets, r.Gap.Seconds(), r.Violations, lost)
	if lost > 0 {
		return fmt.Errorf("secrets lost: %d", lost)
	}
	return r.Check()
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/httpapi"
	"github.com/chord-plugin/chord-plugin/internal/moving"
)

func newExport(s *streams) *command {
	c := newCommand(s, "export", "["+strings.Join(moving.Writable(), "|")+"] FILE|-", "writes all keys to a file")
	c.text = `The formats are json, which is the default and holds all that chord-plugin import
needs, and consul-export, which consul kv import reads and has no lifetimes.

The keys are listed page by page. Each page shows one instant, and the file as a
whole does not while somebody writes. It is written beside its place, read back,
counted and hashed, and only then there under its name. With - the keys go to
standard output, which cannot be read back.`
	c.least, c.most = 1, 2
	a := askingFlagsFor(s, c.flags, movingTimeout, movingTimeoutUsage+movingTimeout.String())
	prefix := c.flags.String("prefix", "", "only keys that begin with this `TEXT`")
	overwrite := c.flags.Bool("overwrite", false, "replace the file if there is one")
	c.run = func(ctx context.Context, args []string) error {
		if len(args) == 1 {
			args = []string{moving.JSON, args[0]}
		}
		if err := allowedFormat(args[0], moving.Writable()); err != nil {
			return err
		}
		if args[1] == "-" && a.json {
			return usagef("-json prints a summary where the keys go; leave one of them out")
		}
		return a.with(func(agent *httpapi.Client) error {
			p := a.progress()
			x := moving.Export{
				Backend: agent, Format: args[0], Path: args[1], Out: a.stdout,
				Prefix: *prefix, Overwrite: *overwrite, Timeout: a.timeout, Show: showMoving(p, time.Now),
			}
			out, err := x.Run(ctx)
			if cleared := p.end(); err == nil {
				err = cleared
			}
			if err != nil {
				return err
			}
			return a.printExported(out)
		})
	}
	return c
}

// printExported says what was written, on standard error when the keys went to
// standard output.
func (a *asking) printExported(out *moving.Exported) error {
	if a.json {
		return printJSON(a.stdout, out)
	}
	w := a.stdout
	if out.Path == "-" {
		w = a.stderr
	}
	done := "written"
	if out.Verified {
		done = "written, read back and verified"
	}
	_, err := fmt.Fprintf(w, "%s, %s, %s; %s of one instant each; SHA-256 %s\n", count(out.Keys, "key"), size(float64(out.Bytes)), done, count(out.Pages, "page"), out.SHA256)
	if out.Mortal > 0 {
		_, told := fmt.Fprintf(w, "%s would expire; %s holds no lifetimes, so there they are for ever\n", count(out.Mortal, "key"), out.Format)
		err = errors.Join(err, told)
	}
	return err
}

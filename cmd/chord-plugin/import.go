package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/httpapi"
	"github.com/chord-plugin/chord-plugin/internal/moving"
)

// movingTimeout is how long the agent may take for one page of keys, or one write.
const movingTimeout = time.Minute

const movingTimeoutUsage = "ask again when the agent takes longer than this `DURATION` for a page of keys or a write, five times at most. Default: "

func newImport(s *streams) *command {
	c := newCommand(s, "import", strings.Join(moving.Readable(), "|")+" PATH", "brings in the keys of another store")
	c.text = `The formats:

  vault-file            the directory of Vault's file storage, with Vault stopped
  vault-raft-snapshot   a file of vault operator raft snapshot save
  consul-export         a file of consul kv export
  json                  a file of chord-plugin export

PATH is read twice. First every key is checked and compared with what the agent
has, and nothing is written when one of them cannot be stored, or exists and
differs. Nor is it when the keys are those of a Vault and the agent has others
under -prefix: a Vault would take up again what is deleted at the source. Then
those that are missing are written, and in the end all are read back, counted and
hashed. A command that was interrupted is started again in the same way: keys that
are there and equal are not written again.`
	c.least, c.most = 2, 2
	a := askingFlagsFor(s, c.flags, movingTimeout, movingTimeoutUsage+movingTimeout.String())
	prefix := c.flags.String("prefix", "", "put this `TEXT` before every key")
	strip := c.flags.String("strip-prefix", "", "take this `TEXT` off every key, which must begin with it, before -prefix")
	vault := c.flags.Bool("vault", false, "the keys are those of a Vault, behind -strip-prefix: demand core/keyring, and leave out what belongs to the old storage. The formats of Vault always do")
	overwrite := c.flags.Bool("overwrite", false, "replace keys that exist and differ")
	others := c.flags.String("others", "", "what becomes of keys under -prefix that PATH does not have: refuse, keep or delete `THEM`. Default: refuse for the keys of a Vault, else keep")
	dryRun := c.flags.Bool("dry-run", false, "check and compare, and write nothing")
	c.run = func(ctx context.Context, args []string) error {
		if err := allowedFormat(args[0], moving.Readable()); err != nil {
			return err
		}
		if all := moving.AllOthers(); *others != "" && !slices.Contains(all, moving.Others(*others)) {
			return usagef("-others: it is %q; allowed is one of %q", *others, all)
		}
		return a.with(func(agent *httpapi.Client) error {
			p := a.progress()
			m := moving.Import{
				Backend: agent, Format: args[0], Path: args[1], Strip: *strip, Prefix: *prefix, Vault: *vault,
				Overwrite: *overwrite, Others: moving.Others(*others), DryRun: *dryRun, Timeout: a.timeout, Show: showMoving(p, time.Now),
			}
			moved, err := m.Run(ctx)
			if cleared := p.end(); err == nil {
				err = cleared
			}
			if printed := a.printMoved(moved, err == nil); err == nil {
				err = printed
			}
			return err
		})
	}
	return c
}

// allowedFormat refuses a format that is none of these.
func allowedFormat(format string, allowed []string) error {
	if slices.Contains(allowed, format) {
		return nil
	}
	return usagef("there is no format %q; allowed is %s", format, strings.Join(allowed, ", "))
}

// printMoved prints what an import did, all of it or a part, and each key that it
// could not move.
func (a *asking) printMoved(m *moving.Moved, all bool) error {
	if a.json {
		return printJSON(a.stdout, m)
	}
	if err := a.printProblems(m.Refused); err != nil || !all {
		return err
	}
	head := fmt.Sprintf("%s, %s, in %s", count(m.Keys, "key"), size(float64(m.Bytes)), m.Path)
	if n := m.LeftOut.Count; n > 0 {
		head += fmt.Sprintf("; left out: %d", n)
	}
	if _, err := fmt.Fprintln(a.stdout, head); err != nil {
		return err
	}
	for _, problems := range []moving.Problems{m.LeftOut, m.Doubtful} {
		if err := a.printProblems(problems); err != nil {
			return err
		}
	}
	would := ""
	if m.DryRun {
		would = "would be "
	}
	lines := []string{fmt.Sprintf("%swritten: %d, over others: %d; there already and equal: %d", would, m.Written, m.Overwritten, m.Present)}
	switch {
	case m.Deleted > 0:
		lines = append(lines, fmt.Sprintf("%sdeleted, not being in the source: %d", would, m.Deleted))
	case m.Others.Count > 0:
		lines = append(lines, fmt.Sprintf("kept, not being in the source: %d", m.Others.Count))
	}
	if m.Verified {
		lines = append(lines, fmt.Sprintf("verified: %s read back, SHA-256 %s", count(m.Keys, "key"), m.SHA256))
	}
	_, err := fmt.Fprintln(a.stdout, strings.Join(lines, "\n"))
	return err
}

// printProblems prints the keys with what is wrong with each.
func (a *asking) printProblems(p moving.Problems) error {
	for _, problem := range p.First {
		if _, err := fmt.Fprintf(a.stdout, "%q: %s\n", problem.Key, problem.What); err != nil {
			return err
		}
	}
	if more := p.Count - len(p.First); more > 0 {
		_, err := fmt.Fprintf(a.stdout, "and %d more\n", more)
		return err
	}
	return nil
}

// movingEvery is how often a terminal shows how far a move is.
const movingEvery = 100 * time.Millisecond

// showMoving shows how far a move is, unless it is over at once.
func showMoving(p *progress, clock func() time.Time) func(moving.Progress) {
	last := clock()
	return func(at moving.Progress) {
		now := clock()
		if now.Sub(last) < movingEvery {
			return
		}
		last = now
		_ = p.show(now, movingText(at)) // a move goes on where nobody can be told of it
	}
}

func movingText(at moving.Progress) string {
	text := fmt.Sprintf("%s: %s", at.Doing, count(at.Keys, "key"))
	if at.Of > 0 {
		text += fmt.Sprintf(" of %d, %s", at.Of, percent(float64(at.Keys)/float64(at.Of)))
	}
	if at.Bytes > 0 {
		text += ", " + size(float64(at.Bytes))
	}
	return text
}

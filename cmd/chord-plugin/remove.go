package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// maxAnswer bounds what is typed at a question, in bytes.
const maxAnswer = 1 << 10

// removing is the command remove.
type removing struct {
	*asking
	force, yes, noWait bool
}

func newRemove(s *streams) *command {
	c := newCommand(s, "remove", "NAME...", "takes members out of the ring that are dead for good")
	c.text = `The members that stay copy what the removed ones owned; the command waits until
they have, and shows how far they are. Members that live are refused: let them
leave. To remove several, name all at once.

When too many members are gone for a quorum, the ring can not decide anything any
more, and -force is the way out. It says first which share of the keys may have
lost writes that were acknowledged, and asks. Every member that stays has to
answer. A removed member that returns starts anew, as a new member.`
	c.least, c.most = 1, ring.MaxMembers
	r := &removing{asking: askingFlagsFor(s, c.flags, defaultTimeout, "give up when the agent has not answered for this `DURATION`. Default: "+defaultTimeout.String())}
	c.flags.BoolVar(&r.force, "force", false, "remove them although too few members are left for a quorum")
	c.flags.BoolVar(&r.yes, "yes", false, "with -force: do not ask")
	c.flags.BoolVar(&r.noWait, "no-wait", false, "end when the removal has begun")
	c.run = func(ctx context.Context, names []string) error {
		if r.yes && !r.force {
			return usagef("-yes: it answers what -force asks; leave it out")
		}
		return r.with(func(agent *httpapi.Client) error { return r.run(ctx, agent, names) })
	}
	return c
}

func (r *removing) run(ctx context.Context, agent *httpapi.Client, names []string) error {
	before, err := each(ctx, r.asking, agent.Ring)
	if err != nil {
		return err
	}
	req := backend.RemoveRequest{Names: names, Force: r.force}
	if r.force {
		if err := r.confirm(ctx, agent, req); err != nil {
			return err
		}
		req.Confirm = true
	}
	report, err := each(ctx, r.asking, func(ctx context.Context) (*backend.RemoveReport, error) { return agent.Remove(ctx, req) })
	if err != nil {
		return err
	}
	if r.noWait {
		if r.json {
			return printJSON(r.stdout, report)
		}
		_, err = fmt.Fprintf(r.stdout, "the removal of %s has begun with epoch %d; chord-plugin ring -watch shows how far it is\n", quoted(names), report.Epoch)
		return err
	}
	after, err := r.wait(ctx, agent, before, report, names)
	if err != nil {
		return err
	}
	if r.json {
		return printJSON(r.stdout, report)
	}
	_, err = fmt.Fprintf(r.stdout, "removed %s; the ring is final with epoch %d and %s\n", quoted(names), after.Epoch, count(len(after.Members), "member"))
	return err
}

// confirm tells what a removal by force would lose, and asks.
func (r *removing) confirm(ctx context.Context, agent *httpapi.Client, req backend.RemoveRequest) error {
	report, err := each(ctx, r.asking, func(ctx context.Context) (*backend.RemoveReport, error) { return agent.Remove(ctx, req) })
	if err != nil {
		return err
	}
	if _, err := io.WriteString(r.stderr, riskText(req.Names, report)); err != nil {
		return fmt.Errorf("tell what may be lost: %w", err)
	}
	switch {
	case len(report.Missing) > 0:
		return fmt.Errorf("%s would stay, but no answer comes from there; start what is missing, or name it as well if it is gone for good. Nothing was changed", quoted(report.Missing))
	case r.yes:
		return nil
	case !terminal(r.stdin):
		return usagef("nobody can be asked, since standard input is no terminal; add -yes to remove %s all the same. Nothing was changed", quoted(req.Names))
	}
	if _, err := io.WriteString(r.stderr, "Type yes to do it: "); err != nil {
		return err
	}
	answer, err := r.read(ctx)
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	if answer != "yes" {
		return fmt.Errorf("the answer was %q and not \"yes\"; nothing was changed", answer)
	}
	return nil
}

// riskText says in words what a removal by force does.
func riskText(names []string, report *backend.RemoveReport) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s would be removed by force; %s would stay.\n", quoted(names), quoted(report.Survivors))
	if report.AtRisk > 0 {
		share := "Less than 0.1 %"
		if report.AtRisk >= 0.001 {
			share = "About " + percent(report.AtRisk)
		}
		fmt.Fprintf(&b, "%s of the keys may lose writes that were acknowledged: so many of their owners\n"+
			"would be removed that nobody who stays need have the newest value. Such a key goes\n"+
			"back to an older value, or is gone. Nobody can tell afterwards which keys did.\n", share)
	} else {
		b.WriteString("No acknowledged write would be lost: of each key enough owners stay.\n")
	}
	return b.String()
}

// read reads a line from standard input. When ctx ends first, what still waits
// for the line ends with the process.
func (s *streams) read(ctx context.Context) (string, error) {
	type answer struct {
		line string
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(s.stdin, maxAnswer)).ReadString('\n')
		if err == io.EOF && line != "" {
			err = nil
		}
		typed <- answer{strings.TrimSpace(line), err}
	}()
	select {
	case a := <-typed:
		if a.err != nil {
			return "", fmt.Errorf("read the answer: %w", a.err)
		}
		return a.line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// wait shows how far a removal is, until it is over, and returns the ring of then.
func (r *removing) wait(ctx context.Context, agent *httpapi.Client, before *backend.Ring, report *backend.RemoveReport, names []string) (*backend.Ring, error) {
	gone := map[string]bool{} // by ID: a new member may have an old name
	for _, m := range before.Members {
		if slices.Contains(names, m.Name) {
			gone[m.ID] = true
		}
	}
	stays := func(ring *backend.Ring) int {
		return slices.IndexFunc(ring.Members, func(m backend.RingMember) bool { return gone[m.ID] })
	}
	p := r.progress()
	after, err := r.await(ctx, agent, time.Now(), func(ring *backend.Ring) (bool, error) {
		// The agent may have missed the change until it was over: then the epoch of the
		// report is the final one.
		if !ring.Joint && (ring.Epoch > report.Epoch || stays(ring) < 0) {
			return true, nil
		}
		return false, p.show(time.Now(), changeText(ring))
	})
	if cleared := p.end(); err == nil {
		err = cleared
	}
	if err != nil {
		return nil, err
	}
	if i := stays(after); i >= 0 {
		return nil, fmt.Errorf("%q is still a member with epoch %d: the removal was undone; see chord-plugin ring and try again", after.Members[i].Name, after.Epoch)
	}
	return after, nil
}

// quoted lists names.
func quoted(names []string) string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = fmt.Sprintf("%q", name)
	}
	if last := len(all) - 1; last > 0 {
		return strings.Join(all[:last], ", ") + " and " + all[last]
	}
	return strings.Join(all, "")
}

// count is a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

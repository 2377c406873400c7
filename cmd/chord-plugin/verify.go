package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

const (
	// verifyTimeout is how long the agent may take for one page.
	verifyTimeout = time.Minute
	// maxProblems is how many problems are printed, unless -max says otherwise.
	maxProblems = 100
)

// verified is what a verification found, as -json prints it.
type verified struct {
	Keys     int `json:"keys"`
	Problems int `json:"problems"`
	Repaired int `json:"repaired"`
	// Silent are the members that did not answer, sorted.
	Silent []string `json:"silent"`
	// Found are the first problems.
	Found []backend.KeyProblem `json:"found"`
}

func newVerify(s *streams) *command {
	c := newCommand(s, "verify", "", "compares the copies of every key at all its owners")
	c.text = `It prints each key that has fewer than all its copies, or copies that differ, and
a line that sums up. Keys that were deleted count as long as they are remembered.
What is written meanwhile is no problem.

Exit code: 0 when every key has all its copies, or has them again with -repair; 1
when one has not, or could not be looked at. Copies of a member that does not
answer count as missing.`
	a := askingFlagsFor(s, c.flags, verifyTimeout, "give up when the agent takes longer than this `DURATION` for a page of keys. Default: "+verifyTimeout.String())
	repair := c.flags.Bool("repair", false, "give every owner its copy")
	most := c.flags.Int("max", maxProblems, fmt.Sprintf("print at most this `NUMBER` of keys. Default: %d", maxProblems))
	c.run = func(ctx context.Context, _ []string) error {
		if *most < 0 {
			return usagef("-max: it is %d; allowed is 0 or more", *most)
		}
		return a.with(func(agent *httpapi.Client) error { return a.verify(ctx, agent, *repair, *most) })
	}
	return c
}

func (a *asking) verify(ctx context.Context, agent *httpapi.Client, repair bool, most int) error {
	p := a.progress()
	v, err := a.walk(ctx, agent, repair, most, p)
	if cleared := p.end(); err == nil {
		err = cleared
	}
	if err != nil {
		return fmt.Errorf("after %s: %w", count(v.Keys, "key"), err)
	}
	if a.json {
		err = printJSON(a.stdout, v)
	} else {
		err = a.sumUp(v)
	}
	switch {
	case err != nil:
		return err
	case v.Problems > 0 && repair:
		return fmt.Errorf("%s could not be mended", count(v.Problems, "key"))
	case v.Problems > 0:
		return fmt.Errorf("%s without all copies; -repair mends what can be mended", count(v.Problems, "key"))
	case len(v.Silent) > 0:
		return fmt.Errorf("no answer from %s", quoted(v.Silent))
	}
	return nil
}

// walk verifies page by page, and prints the problems as they are found.
func (a *asking) walk(ctx context.Context, agent *httpapi.Client, repair bool, most int, p *progress) (*verified, error) {
	v := &verified{Silent: []string{}, Found: []backend.KeyProblem{}}
	silent := map[string]bool{}
	for q := (backend.VerifyQuery{Repair: repair}); ; {
		page, err := each(ctx, a, func(ctx context.Context) (*backend.VerifyPage, error) { return agent.Verify(ctx, q) })
		if err != nil {
			return v, err
		}
		v.Keys, v.Repaired = v.Keys+page.Keys, v.Repaired+page.Repaired
		for _, name := range page.Silent {
			silent[name] = true
		}
		v.Silent = append(v.Silent[:0], slices.Sorted(maps.Keys(silent))...)
		for _, problem := range page.Problems {
			if v.Problems++; len(v.Found) >= most {
				continue
			}
			v.Found = append(v.Found, problem)
			if a.json {
				continue
			}
			if err := p.end(); err != nil {
				return v, err
			}
			if _, err := fmt.Fprintln(a.stdout, problemText(problem)); err != nil {
				return v, err
			}
		}
		switch {
		case !page.More:
			return v, nil
		case page.Next <= q.After:
			return v, fmt.Errorf("the agent's pages do not go on behind key %q", q.After)
		}
		q.After = page.Next
		text := fmt.Sprintf("%s, %s", count(v.Keys, "key"), count(v.Problems, "problem"))
		if repair {
			text += fmt.Sprintf(", %d mended", v.Repaired)
		}
		if err := p.show(time.Now(), text); err != nil {
			return v, err
		}
	}
}

// sumUp prints what a verification found.
func (a *asking) sumUp(v *verified) error {
	if more := v.Problems - len(v.Found); more > 0 {
		line := fmt.Sprintf("%s, of which none is shown", count(v.Problems, "problem"))
		if len(v.Found) > 0 {
			line = fmt.Sprintf("and %d more", more)
		}
		if _, err := fmt.Fprintln(a.stdout, line); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s: ", count(v.Keys, "key"))
	if v.Problems == 0 {
		text += "every one has all its copies"
	} else {
		text += fmt.Sprintf("%d without all copies", v.Problems)
	}
	if v.Repaired > 0 {
		text += fmt.Sprintf(", %d mended", v.Repaired)
	}
	if len(v.Silent) > 0 {
		text += "; no answer from " + quoted(v.Silent)
	}
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}

// problemText says in a line what is wrong with a key.
func problemText(p backend.KeyProblem) string {
	var parts []string
	if len(p.Missing) > 0 {
		parts = append(parts, "missing at "+quoted(p.Missing))
	}
	if len(p.Behind) > 0 {
		parts = append(parts, "behind at "+quoted(p.Behind))
	}
	parts = append(parts, fmt.Sprintf("%d of %d owners have the newest copy", p.Copies, p.Owners))
	if p.Error != "" {
		parts = append(parts, fmt.Sprintf("not mended: %q", p.Error))
	}
	return fmt.Sprintf("%q: %s", p.Key, strings.Join(parts, "; "))
}

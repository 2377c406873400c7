package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// This file prints a script's nodes, ballots and messages for people: a timestamp
// as milliseconds since the script began and a counter, a ballot as a timestamp
// and the letter of its node.

func (s *Script) printf(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *Script) time(ts uint64) string {
	if ts == 0 {
		return "0"
	}
	return fmt.Sprintf("%d.%d", int64(ts>>12)-int64(s.base>>12), ts&(1<<12-1))
}

func (s *Script) name(node ring.Node) string {
	if a := s.byID[node]; a != nil {
		return a.name
	}
	if node == math.MaxUint64 {
		return "+"
	}
	return "?"
}

func (s *Script) ballot(b register.Ballot) string {
	if b.IsZero() {
		return "none"
	}
	return s.time(b.Time) + s.name(b.Node)
}

func (s *Script) value(v *register.Value) string {
	what := "tombstone"
	if v.Live {
		what = fmt.Sprint(decodeData(v.Data))
	}
	if len(v.Lineage) == 0 {
		return "nothing"
	}
	var lineage []string
	for _, p := range v.Lineage {
		if p == (register.Past{}) {
			lineage = append(lineage, "origin")
		} else {
			lineage = append(lineage, s.ballot(p.Write))
		}
	}
	if len(lineage) > 4 {
		lineage = append(lineage[:3:3], fmt.Sprintf("%d more", len(lineage)-3))
	}
	for _, t := range v.Tags {
		what += fmt.Sprintf(" with %d", t.Token)
		if t.Pass != (register.Attempt{}) {
			what += fmt.Sprintf(" by %d.%d", t.Pass.Token, t.Pass.Number)
		}
	}
	return what + " [" + strings.Join(lineage, " ") + "]"
}

func (s *Script) cell(c *register.Cell) string {
	if c.IsZero() {
		return "nothing"
	}
	return "@" + s.ballot(c.Accepted) + " " + s.value(&c.Value)
}

func (s *Script) printCells(key string) {
	for _, a := range s.nodes {
		c, ok := a.cells[key]
		state := ""
		if a.shard == nil {
			state = " (down)"
		}
		if ok {
			s.printf("%s%s: %s", a.name, state, s.cell(&c))
		} else if g := s.placement.Group(key); g.Index(a.id) >= 0 {
			s.printf("%s%s: nothing", a.name, state)
		}
	}
}

func (s *Script) resultString(r *register.Result) string {
	t := r.Outcome.String()
	switch {
	case r.Value.Live:
		t += fmt.Sprintf(" %d at %s", decodeData(r.Value.Data), s.time(r.Index))
	case r.Outcome == register.Done || r.Outcome == register.Refused:
		t += " at " + s.time(r.Index)
	}
	if r.Owners > 0 {
		t += fmt.Sprintf(" (%d of %d)", r.Answered, r.Owners)
	}
	return t
}

func (s *Script) flightString(f flight) string {
	m := &f.env.Msg
	t := fmt.Sprintf("%s->%s %v %s", s.name(f.from), s.name(f.env.To), m.Kind, m.Key)
	switch m.Kind {
	case register.MsgPrepare, register.MsgRefuse:
		t += " " + s.ballot(m.Ballot)
		for _, e := range m.Fences {
			t += fmt.Sprintf(", token %d is in force", e.InForce())
		}
	case register.MsgPromise:
		t += " " + s.ballot(m.Ballot) + ", has " + s.cell(&m.Cell)
		if !m.Forgot.IsZero() {
			t += ", forgot up to " + s.ballot(m.Forgot)
		}
	case register.MsgAccept:
		t += " " + s.cell(&m.Cell) + ", then " + s.ballot(m.Next)
	case register.MsgAccepted:
		t += " " + s.ballot(m.Ballot) + ", promised " + s.ballot(m.Next)
	case register.MsgRead:
		if m.Digest {
			t += " (ballot only)"
		}
	case register.MsgCell:
		if m.Digest {
			t += " @" + s.ballot(m.Cell.Accepted)
		} else {
			t += " " + s.cell(&m.Cell)
		}
	case register.MsgForward:
		t += fmt.Sprintf(" %v as %s", m.Change.Kind, s.ballot(m.Op))
		if m.Until != 0 {
			t += " until " + s.time(m.Until)
		}
	case register.MsgResult:
		t += " " + s.resultString(m.Result)
	case register.MsgExpired:
		t += fmt.Sprintf(", doubt %v", m.Doubt)
	}
	if len(s.chain) > 1 {
		t += fmt.Sprintf(" (epoch %d)", m.Epoch)
	}
	return t
}

// sides names the owners by Old and by New.
func (s *Script) sides(g *ring.Group) string {
	cfg := s.placement.Configuration()
	side := func(of *ring.Side) string {
		var names []string
		for _, m := range of.Members {
			if g.Index(m.ID.Node()) >= 0 {
				names = append(names, s.name(m.ID.Node()))
			}
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	if cfg.Old != nil {
		return side(cfg.Old) + " (old) and " + side(&cfg.New) + " (new)"
	}
	var names []string
	for _, o := range g.Owners() {
		names = append(names, s.name(o))
	}
	return strings.Join(names, " ")
}

package sim

import (
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// This file is a script's commands about changes of the ring, and about what members
// do among themselves: adopt, forget, write again.

func (s *Script) reshape(cmd string, pos []string, opt map[string]string) {
	switch cmd {
	case "next":
		s.next(pos, opt)
	case "enter":
		for _, name := range strings.Split(pos[0], ",") {
			s.input(s.node(name), func(a *actor, now register.Now) {
				a.epoch++
				a.shard.Reconfigure(now, s.chain[a.epoch])
			})
		}
	case "epochs":
		for _, a := range s.nodes {
			if a.shard != nil {
				s.printf("%s: %d", a.name, a.shard.Epoch())
			}
		}
	case "adopt":
		key, from := pos[2], s.node(pos[3])
		epoch := s.epochOf(from, opt)
		s.input(s.node(pos[0]), func(a *actor, now register.Now) {
			a.shard.Adopt(now, number(pos[1]), epoch, key, from.cells[key])
		})
	case "take": // what the named givers hold, as a new owner that compares it first
		to, key := s.node(pos[0]), pos[2]
		g := s.chain[to.epoch].Group(key)
		var cell register.Cell
		var holders uint16
		for _, name := range pos[3:] {
			from := s.node(name)
			if c := from.cells[key]; cell.Accepted.Less(c.Accepted) {
				cell, holders = c, 0
			}
			if from.cells[key].Accepted == cell.Accepted {
				holders |= 1 << g.Index(from.id)
			}
		}
		s.input(to, func(a *actor, now register.Now) {
			take := a.shard.Adopt
			if g.Held(holders) || !holds(ruleLearnHeld) {
				take = a.shard.Learn
			}
			take(now, number(pos[1]), a.shard.Epoch(), key, cell)
		})
	case "raise":
		bound := s.node(pos[2]).shard.Bound()
		s.input(s.node(pos[0]), func(a *actor, now register.Now) { a.shard.Raise(now, number(pos[1]), bound) })
	case "forgettable":
		of := s.node(pos[1])
		for _, a := range s.nodes {
			if a.shard != nil && a.shard.Forgettable(s.epochOf(of, opt), pos[0], of.cells[pos[0]].Accepted) {
				s.printf("%s", a.name)
			}
		}
	case "forget":
		key, of := pos[2], s.node(pos[3])
		ballot := of.cells[key].Accepted
		s.input(s.node(pos[0]), func(a *actor, now register.Now) {
			a.shard.Forget(now, number(pos[1]), s.epochOf(of, opt), key, ballot)
		})
	case "rewrite":
		s.input(s.node(pos[0]), func(a *actor, now register.Now) { a.shard.Rewrite(now, number(pos[1]), pos[2], timeout(opt)) })
	case "purge":
		s.input(s.node(pos[0]), func(a *actor, now register.Now) {
			a.shard.Drop(now, number(pos[1]), strings.Split(pos[2], ","))
		})
	}
}

// epochOf returns the epoch that an actor works by, or what the command says.
func (s *Script) epochOf(a *actor, opt map[string]string) uint64 {
	if v, ok := opt["epoch"]; ok {
		return number(v)
	}
	return s.chain[a.epoch].Configuration().Epoch
}

// next makes the next configuration.
func (s *Script) next(pos []string, opt map[string]string) {
	cur := s.placement.Configuration()
	var next *ring.Configuration
	if cur.Joint() {
		next = cur.Finish(slices.Contains(pos, "back"))
	} else {
		var p ring.Plan
		for name := range strings.SplitSeq(opt["join"], ",") {
			if name != "" {
				p.Join = append(p.Join, ring.Member{ID: s.node(name).full, Name: name, Tokens: 8})
			}
		}
		for name := range strings.SplitSeq(opt["remove"], ",") {
			if name != "" {
				p.Remove = append(p.Remove, s.node(name).full)
			}
		}
		if v, ok := opt["replicas"]; ok {
			p.Replicas = int(number(v))
		}
		var err error
		if next, err = cur.Begin(p); err != nil || next == nil {
			s.printf("nothing begins: %v", err)
			return
		}
	}
	s.placement = ring.NewPlacement(next)
	s.chain = append(s.chain, s.placement)
	g := s.placement.Group("k")
	s.printf("epoch %d: k is owned by %s", next.Epoch, s.sides(&g))
}

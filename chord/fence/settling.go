package fence

import (
	"fmt"
	"slices"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// settling goes through what those that installed an attempt hold that concerns
// the lock, all of them side by side in key order, and settles every key of which
// they do not all hold the same cell. What they do is chosen: of the owners of a
// key at most f are not among them.
type settling struct {
	r     Ring
	p     *ring.Placement
	e     register.FenceEntry
	by    []ring.Node // who installed it
	lists []list
	left  []string // keys to settle
}

// list is what a member holds that was not looked at yet.
type list struct {
	cells []Held
	more  bool
	after string
}

func (s *settling) run() error {
	s.lists = make([]list, len(s.by))
	for i := range s.lists {
		s.lists[i].more = true
	}
	for {
		if err := s.fill(); err != nil {
			return err
		}
		key, ok := s.first()
		if !ok {
			return s.settle()
		}
		if s.take(key) {
			s.left = append(s.left, key)
		}
		if len(s.left) == maxSettle {
			if err := s.settle(); err != nil {
				return err
			}
		}
	}
}

// fill gets the next page of every list that ran out.
func (s *settling) fill() error {
	return s.r.Each(len(s.lists), func(i int) error {
		for l := &s.lists[i]; len(l.cells) == 0 && l.more; {
			page, err := s.r.List(s.by[i], s.e.Key, l.after)
			if err != nil {
				return err
			}
			if page.Epoch != s.p.Configuration().Epoch {
				return errAgain
			}
			if page.More && page.Next <= l.after {
				return fmt.Errorf("a page that ends with %q begins after %q", page.Next, l.after)
			}
			*l = list{cells: page.Cells, more: page.More, after: page.Next}
		}
		return nil
	})
}

// first returns the lowest key that is listed.
func (s *settling) first() (key string, ok bool) {
	for i := range s.lists {
		if c := s.lists[i].cells; len(c) > 0 && (!ok || c[0].Key < key) {
			key, ok = c[0].Key, true
		}
	}
	return key, ok
}

// take takes a key off the lists and reports whether its owners among them differ.
func (s *settling) take(key string) (differ bool) {
	g := s.p.Group(key)
	var accepted []register.Ballot
	owners := 0
	for i, member := range s.by {
		l := &s.lists[i]
		listed := len(l.cells) > 0 && l.cells[0].Key == key
		if g.Index(member) >= 0 {
			owners++
			if listed {
				accepted = append(accepted, l.cells[0].Accepted)
			}
		}
		if listed {
			l.cells = l.cells[1:]
		}
	}
	if len(accepted) == 0 {
		return false // not theirs any more
	}
	return len(accepted) < owners || slices.ContainsFunc(accepted, func(b register.Ballot) bool { return b != accepted[0] })
}

func (s *settling) settle() error {
	keys := s.left
	s.left = nil
	return s.r.Each(len(keys), func(i int) error { return s.r.Settle(keys[i], s.e) })
}

package ring

import (
	"fmt"
	"slices"
)

// A ring changes from one final configuration to the next through a joint one
// (Ongaro 2014, section 4.3): final e -> joint e+1 -> final e+2. This file makes
// the next configuration; that it becomes the one is decided by the register
// that holds the configuration.

// Plan is what is to change, all at once.
type Plan struct {
	Join []Member
	// Remove takes members away, whether they help or are gone for good.
	Remove []ID
	// Replicas is the new number of copies; 0 keeps it.
	Replicas int
}

// Begin returns the joint configuration that starts a plan. It returns nil when
// the plan changes nothing.
func (c *Configuration) Begin(p Plan) (*Configuration, error) {
	if c.Joint() {
		return nil, fmt.Errorf("a change of the ring is under way (epoch %d)", c.Epoch)
	}
	next := &Configuration{RingID: c.RingID, Epoch: c.Epoch + 1, Level: c.Level}
	old := Side{Replicas: c.New.Replicas, Members: slices.Clone(c.New.Members)} // Sort must not touch c
	next.Old = &old
	next.New.Replicas = c.New.Replicas
	if p.Replicas != 0 {
		next.New.Replicas = p.Replicas
	}
	for _, m := range c.New.Members {
		if !slices.Contains(p.Remove, m.ID) {
			next.New.Members = append(next.New.Members, m)
		}
	}
	for _, m := range p.Join {
		if !next.New.Has(m.ID) && !slices.Contains(p.Remove, m.ID) {
			next.New.Members = append(next.New.Members, m)
		}
	}
	next.Sort()
	if next.New.Replicas == c.New.Replicas && slices.Equal(next.New.Members, c.New.Members) {
		return nil, nil
	}
	if err := next.Validate(); err != nil {
		return nil, err
	}
	return next, nil
}

// Finish returns the final configuration that ends a joint one: by New, or back
// to Old, which is always allowed.
func (c *Configuration) Finish(back bool) *Configuration {
	if !c.Joint() {
		panic(fmt.Sprintf("ring: Finish of the final configuration %d", c.Epoch))
	}
	next := &Configuration{RingID: c.RingID, Epoch: c.Epoch + 1, Level: c.Level, Forced: c.Forced, New: c.New}
	if back {
		next.New = *c.Old
	}
	return next
}

// Force returns the configuration by which the survivors go on without the
// members that are dropped, whether c is joint or final.
func (c *Configuration) Force(drop []ID) *Configuration {
	next := &Configuration{RingID: c.RingID, Epoch: c.Epoch + 1, Level: c.Level, Forced: true}
	next.New.Replicas = c.New.Replicas
	sides := c.Sides()
	for i := len(sides) - 1; i >= 0; i-- {
		for _, m := range sides[i].Members {
			known := slices.ContainsFunc(next.New.Members, func(o Member) bool { return o.ID == m.ID || o.Name == m.Name })
			if !known && !slices.Contains(drop, m.ID) {
				next.New.Members = append(next.New.Members, m)
			}
		}
	}
	old := Side{Replicas: next.New.Replicas, Members: slices.Clone(next.New.Members)}
	next.Old = &old
	next.Sort()
	return next
}

// Progress is how far the members are in a joint configuration.
type Progress struct {
	// Entered holds the members that work by it and have made durable all that
	// they accepted before.
	Entered map[ID]bool
	// Synced holds the members that have what they are to own by New.
	Synced map[ID]bool
}

// MayFinish reports whether a joint configuration may become final by New: all
// but f of Old have entered it, so that no operation of the epoch before can find
// a quorum any more, and all but f of New have synced. If not it returns the
// members that are missed.
func (c *Configuration) MayFinish(p Progress) (ok bool, missed []Member) {
	lacking := func(s *Side, have map[ID]bool) int {
		n := 0
		for _, m := range s.Members {
			if !have[m.ID] {
				n++
				if !slices.ContainsFunc(missed, func(o Member) bool { return o.ID == m.ID }) {
					missed = append(missed, m)
				}
			}
		}
		return n
	}
	fenced := lacking(c.Old, p.Entered) <= c.Old.Faults()
	synced := lacking(&c.New, p.Synced) <= c.New.Faults()
	return fenced && synced, missed
}

// Owns reports whether a member is among the owners of key, by either side.
func (p *Placement) Owns(id ID, key string) bool {
	for i := range p.sides {
		if s := p.sides[i].side; s.everybody() && s.Has(id) {
			return true
		}
	}
	g := p.Group(key)
	return g.Index(id.Node()) >= 0
}

// OwnsNew reports whether a member is among the owners of key by New.
func (p *Placement) OwnsNew(id ID, key string) bool {
	if s := p.current().side; s.everybody() {
		return s.Has(id)
	}
	g := p.Group(key)
	i := g.Index(id.Node())
	return i >= 0 && g.new>>i&1 == 1
}

package register

import "github.com/chord-plugin/chord-plugin/chord/ring"

// placement is a ring.Placement that remembers the owner sets of the keys that were
// asked for last: every step of a change asks for that of its key, and working one
// out takes a hash an owner. It is not safe for concurrent use.
type placement struct {
	*ring.Placement
	recent, before map[string]ring.Group
}

const (
	// maxGroups bounds each of the two maps: when one is full, what is in the other
	// one is forgotten.
	maxGroups = 256
	// maxGroupKey is the longest key in bytes that is remembered.
	maxGroupKey = 256
)

func newPlacement(p *ring.Placement) placement {
	return placement{Placement: p, recent: map[string]ring.Group{}, before: map[string]ring.Group{}}
}

// Group is that of ring.Placement.
func (p *placement) Group(key string) ring.Group {
	if g, ok := p.recent[key]; ok {
		return g
	}
	g, ok := p.before[key]
	if !ok {
		g = p.Placement.Group(key)
	}
	if len(key) > maxGroupKey {
		return g
	}
	if len(p.recent) == maxGroups {
		p.recent, p.before = p.before, p.recent
		clear(p.recent)
	}
	p.recent[key] = g
	return g
}

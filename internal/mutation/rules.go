// Package mutation takes rules out of packages, in builds with the tag "mutation",
// to see that the simulations notice.
package mutation

import "slices"

// Rules are the rules of a package, by the numbers that it gives them. All hold,
// but for one at most.
type Rules struct {
	names  []string
	broken int
}

// New returns rules by their names, which all hold.
func New(names ...string) *Rules { return &Rules{names, -1} }

// Names returns the names.
func (r *Rules) Names() []string { return slices.Clone(r.names) }

// Has reports whether one of the rules has that name.
func (r *Rules) Has(name string) bool { return slices.Contains(r.names, name) }

// Holds reports whether a rule holds.
func (r *Rules) Holds(number int) bool { return number != r.broken }

// Break takes the one rule of that name out, and puts all others back. With "" all
// hold. A name that no set has is a mistake and panics.
func Break(name string, sets ...*Rules) {
	found := name == ""
	for _, r := range sets {
		r.broken = slices.Index(r.names, name)
		found = found || r.broken >= 0
	}
	if !found {
		panic("mutation: there is no rule " + name)
	}
}

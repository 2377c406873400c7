package register

import (
	"slices"
	"time"
)

const (
	// maxLineage bounds the writes that a value remembers besides those of its
	// own round.
	maxLineage = 16
	// lineageAge is how old a remembered write may be, seen from the newest: a
	// doubtful operation that began longer ago ends as unknown. One older write
	// is kept, so that the lineage of a key that rests reaches below any
	// operation that begins later.
	lineageAge = time.Minute
)

// fate is what a value tells of a doubtful operation.
type fate uint8

const (
	// fateUnknown: the lineage is too short to tell.
	fateUnknown fate = 1 + iota
	// fateHappened: the value is built on the operation.
	fateHappened
	// fateNever: the lineage reaches below the operation without it; once the
	// round that found this is chosen, it never will happen.
	fateNever
)

// fateOf looks for op in the lineage of v, a value found by a quorum of
// promises. Whoever applied op stamped it above op itself, so a write stamped
// below op ends the search. For fateHappened it returns the stamp of the write.
func (v *Value) fateOf(op OpID) (fate, Ballot) {
	if len(v.Lineage) == 0 {
		return fateNever, Ballot{} // nothing was ever written here
	}
	for _, p := range v.Lineage {
		switch {
		case p.Op == op:
			return fateHappened, p.Write
		case p.Write.Time < op.Time:
			return fateNever, Ballot{}
		}
	}
	return fateUnknown, Ballot{}
}

// origin ends the lineage of a key that was created where nothing was and nothing
// had been forgotten: below it there never was a write. Else the lineage ends with
// the floor under which the key was created; see round.nothing.
var origin = Past{}

// extend returns the lineage of a value written on top of v by w.
func (v *Value) extend(w Past) []Past {
	lin := make([]Past, 1, len(v.Lineage)+2)
	lin[0] = w
	if len(v.Lineage) == 0 {
		return append(lin, origin)
	}
	return append(lin, v.Lineage...)
}

// trim drops from v's lineage what is neither of the round that began above
// first nor young and near enough to be of use.
func (v *Value) trim(first uint64) {
	if len(v.Lineage) == 0 {
		return
	}
	newest := v.Lineage[0].Write.Time
	keep, older := 0, 0
	for _, p := range v.Lineage {
		if p.Write.Time < first {
			if older++; older > maxLineage {
				break
			}
		}
		keep++
		if p.Write.Time+ticks(lineageAge) < newest {
			break
		}
	}
	v.Lineage = slices.Clip(v.Lineage[:keep])
}

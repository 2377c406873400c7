package register

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Fence is the right to write that comes with a lock: the lock's key, and the
// token of the holder. The zero value is none.
type Fence struct {
	Key   string
	Token uint64
}

// MaxTags is how many fences a change may carry, each of another lock.
const MaxTags = 8

// MaxFences is how many locks a shard keeps fences for: twice what a ring admits
// (backend.MaxFences), since members that admit one at the same time do not see
// each other. What is more is not learnt from messages.
const MaxFences = 2048

// FencePrefix begins the keys of the registers that say how far fences are. The data
// of one is a FenceEntry.
const FencePrefix = "\x00fence/"

// FenceKey returns the key of a lock's fence register.
func FenceKey(lock string) string { return FencePrefix + lock }

// frees reports whether operations on a key are what others may wait for, so that
// they must not wait for those.
func frees(key string) bool { return strings.HasPrefix(key, FencePrefix) }

// Attempt is one attempt to bring a fence into force: the token, and which of the
// attempts for that token. They are numbered by the fence's own register, so that
// there are no two of the same name. The zero value is none.
type Attempt struct {
	Token, Number uint64
}

// Compare orders attempts; what a later one seals replaces what an earlier did.
func (a Attempt) Compare(b Attempt) int {
	return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(a.Number, b.Number))
}

// Tag says that a write was made with a fence.
type Tag struct {
	Fence
	// Pass is the attempt that chose the write anew, to settle it; zero for none.
	Pass Attempt
}

// FenceEntry is what is known of the fence of a lock. It only grows: see Merge.
type FenceEntry struct {
	// Key is the lock's.
	Key string
	// Try is the newest attempt that was installed. Who knows it accepts no write
	// with an older token any more, but those that this attempt settles.
	Try Attempt
	// Sealed is the newest attempt that was sealed: from then on a write with an older
	// token, which nobody of By has accepted and which has no Pass of it, is dead.
	Sealed Attempt
	// By are the members that had installed Sealed when it looked for what there is to
	// settle.
	By []ring.Node
}

// newest returns the attempt in force: of the two the later.
func (e *FenceEntry) newest() Attempt {
	if e.Try.Compare(e.Sealed) > 0 {
		return e.Try
	}
	return e.Sealed
}

// Merge takes over what is newer in o, and reports whether anything was.
func (e *FenceEntry) Merge(o *FenceEntry) (changed bool) {
	e.Key = o.Key
	if e.Try.Compare(o.Try) < 0 {
		e.Try, changed = o.Try, true
	}
	if e.Sealed.Compare(o.Sealed) < 0 {
		e.Sealed, e.By, changed = o.Sealed, slices.Clone(o.By), true
	}
	return changed
}

// InForce returns the newest token.
func (e *FenceEntry) InForce() uint64 { return e.newest().Token }

// Fences is what is known of fences, by lock.
type Fences map[string]FenceEntry

// Learn merges an entry and reports whether anything in it was new.
func (f Fences) Learn(e *FenceEntry) bool {
	have, ok := f[e.Key]
	if !ok && len(f) >= MaxFences {
		return false
	}
	changed := have.Merge(e)
	if changed {
		f[e.Key] = have
	}
	return changed
}

// Entries returns all entries, by lock.
func (f Fences) Entries() []FenceEntry {
	entries := make([]FenceEntry, 0, len(f))
	for _, lock := range slices.Sorted(maps.Keys(f)) {
		entries = append(entries, f[lock])
	}
	return entries
}

// verdict is what is to be thought of a tag.
type verdict uint8

const (
	// tagFine: no newer fence is known.
	tagFine verdict = 1 + iota
	// tagOpen: a newer fence is being brought into force.
	tagOpen
	// tagDead: the write never took effect and never will.
	tagDead
	// tagKept: the write, or what supersedes it, was chosen before the fence was in
	// force.
	tagKept
)

// of judges a tag of a write that a member has accepted.
func (f Fences) of(t *Tag, reporter ring.Node) verdict {
	e, ok := f[t.Key]
	switch {
	case !ok || t.Token >= e.newest().Token:
		return tagFine
	case t.Token >= e.Sealed.Token:
		return tagOpen
	case t.Pass == e.Sealed, slices.Contains(e.By, reporter):
		return tagKept
	case !holds(ruleDead), !holds(ruleFirstOnly):
		return tagKept
	}
	return tagDead
}

// outdated returns the first of the fences that a newer one is known of, and the
// token of that.
func (f Fences) outdated(fences []Fence) (old Fence, inForce uint64, ok bool) {
	for _, fence := range fences {
		if e, known := f[fence.Key]; known && fence.Token < e.newest().Token {
			return fence, e.InForce(), true
		}
	}
	return Fence{}, 0, false
}

// refuses returns the tag for which a value may not be accepted any more, from a
// proposer.
func (f Fences) refuses(v *Value, from ring.Node) (t Tag, e FenceEntry, refused bool) {
	for _, t := range v.Tags {
		e, known := f[t.Key]
		if !holds(ruleFirstOnly) && v.Write().Node != from {
			continue
		}
		if now := e.newest(); known && t.Token < now.Token && t.Pass != now {
			return t, e, true
		}
	}
	return Tag{}, FenceEntry{}, false
}

// about returns the entries that make a value's tags old.
func (f Fences) about(v *Value) (entries []FenceEntry) {
	for _, t := range v.Tags {
		if e, known := f[t.Key]; known && t.Token < e.newest().Token {
			entries = append(entries, e)
		}
	}
	return entries
}

// Clean takes the tags off a value, which a member has accepted, that are known to
// concern nobody any more, as before it is given to another member.
func (f Fences) Clean(holder ring.Node, v *Value) {
	v.untag(func(t *Tag) bool { return f.of(t, holder) == tagKept })
}

// doubts reports whether a value that a member has accepted is dead, or may be.
func (f Fences) doubts(holder ring.Node, v *Value) bool {
	return slices.ContainsFunc(v.Tags, func(t Tag) bool {
		verdict := f.of(&t, holder)
		return verdict == tagDead || verdict == tagOpen
	})
}

// untag takes tags off a value.
func (v *Value) untag(which func(t *Tag) bool) {
	var kept []Tag
	for i := range v.Tags {
		if which(&v.Tags[i]) {
			v.WasTagged = true
		} else {
			kept = append(kept, v.Tags[i])
		}
	}
	if v.Tags = kept; len(kept) == 0 {
		v.Undo = nil
	}
}

// settled returns a value that is known to be chosen, without what is only of use
// while it is not.
func (v Value) settled() Value {
	v.untag(func(*Tag) bool { return true })
	return v
}

// answer returns a value for a caller, to whom tags mean nothing.
func (v Value) answer() Value {
	v.Tags, v.Undo = nil, nil
	return v
}

// tagged returns the value as written with fences on top of base, which is known to
// be chosen.
func (v Value) tagged(fences []Fence, base *Cell) Value {
	v.Tags, v.Undo = nil, nil
	v.WasTagged = base.Value.WasTagged || len(base.Value.Tags) > 0
	if len(fences) == 0 {
		return v
	}
	for _, f := range fences {
		v.Tags = append(v.Tags, Tag{Fence: f})
	}
	v.Undo = &Cell{Accepted: base.Accepted, Value: base.Value.settled()}
	return v
}

// Concerns reports whether who brings a fence of a lock into force must know that
// all owners hold the same cell: because the value was written with a fence of
// the lock, or stands where such a value may have stood.
func (v *Value) Concerns(lock string) bool {
	return v.WasTagged && holds(ruleWasTagged) || slices.ContainsFunc(v.Tags, func(t Tag) bool { return t.Key == lock })
}

package register

import (
	"bytes"
	"time"
)

// OpID names an operation: the node at which it began and the timestamp it began
// at. Every stamp with which the operation can be written is above it. (A ballot
// need not be: see Past.)
type OpID = Ballot

// Past names an earlier write of a key.
type Past struct {
	// Write is the stamp of the change: the timestamp at which its proposer
	// applied it, above the operation's own and above that of the write it was
	// built on. It is what the modify index is made of. (It is not the ballot:
	// one may be held ready from the round before.)
	Write Ballot
	// Op is the operation that made the change.
	Op OpID
}

// Value is what a register holds: an entry, or a tombstone.
type Value struct {
	// Live is false for a tombstone.
	Live bool
	// Data is the entry's bytes.
	Data []byte
	// Flags is the host's opaque number.
	Flags uint64
	// Create is the timestamp of the change that created the key.
	Create uint64
	// Holding says who holds the key as a lock.
	Holding
	// Expires is how long the entry lives from its last change; 0 is for ever.
	Expires time.Duration
	// Hidden says that the last write is none that hosts see: it placed an intent, or
	// resolved one. Shown is then the timestamp of the last that is, 0 where there
	// is none.
	Hidden bool
	Shown  uint64
	// Intent is what a transaction means to put here, or nil.
	Intent *Intent
	// Tags are the fences that the last write was made with, each of another lock.
	Tags []Tag
	// Undo is, with Tags, the cell that the last write was made on top of, which was
	// known to be chosen; without tags of its own. It is what counts if the write
	// turns out to be dead.
	Undo *Cell
	// WasTagged says that one of the writes before it had tags.
	WasTagged bool
	// Lineage lists this value's own write first, then the writes it was built
	// on, newest first, strictly descending in Write. It is empty only where
	// nothing was ever written. An identity round keeps it.
	Lineage []Past
}

// Write returns the stamp of the last real change; zero where there was none.
func (v *Value) Write() Ballot {
	if len(v.Lineage) == 0 {
		return Ballot{}
	}
	return v.Lineage[0].Write
}

// Stamp returns the timestamp of the last change that hosts could see, deletions
// included; 0 where nothing is known to have been.
func (v *Value) Stamp() uint64 {
	switch {
	case v.Hidden:
		return v.Shown
	case len(v.Lineage) == 0 || v.Lineage[0].Op.IsZero(): // see round.nothing
		return 0
	}
	return v.Lineage[0].Write.Time
}

// Index returns the modify index: 0 for a key that does not exist.
func (v *Value) Index() uint64 {
	if !v.Live {
		return 0
	}
	return v.Stamp()
}

// Head returns what hosts see but for the data, without the past and an intent.
func (v *Value) Head() Value {
	return Value{Live: v.Live, Flags: v.Flags, Create: v.Create, Holding: v.Holding, Expires: v.Expires, Hidden: true, Shown: v.Stamp()}
}

// IsTombstone reports whether nothing is there, nor may come of an intent, so
// that the value may be forgotten.
func (v *Value) IsTombstone() bool { return !v.Live && v.Intent == nil }

// Names returns the sessions that the value names as holders: now, and once its
// intent is applied. Both may be empty.
func (v *Value) Names() (now, then string) {
	if in := v.Intent; in != nil {
		then = in.New.Holder()
	}
	return v.Holder(), then
}

// Size returns how many bytes of data a value has, with those of its intent and of
// what it would be without its last write.
func (v *Value) Size() int {
	n := len(v.Data)
	if v.Intent != nil {
		n += len(v.Intent.New.Data)
	}
	if v.Undo != nil {
		n += v.Undo.Value.Size()
	}
	return n
}

// CloneData gives a value, its intent and its Undo data of their own.
func (v *Value) CloneData() {
	v.Data = bytes.Clone(v.Data)
	if v.Intent != nil {
		in := *v.Intent
		in.New.Data = bytes.Clone(in.New.Data)
		v.Intent = &in
	}
	if v.Undo != nil {
		undo := *v.Undo
		undo.Value.CloneData()
		v.Undo = &undo
	}
}

// DropData takes the data out of a value, and of its intent, which is replaced, and
// its tags, so that it is of use to be looked at only.
func (v *Value) DropData() {
	v.Data, v.Tags, v.Undo = nil, nil, nil
	if v.Intent != nil && v.Intent.New.Data != nil {
		in := *v.Intent
		in.New.Data = nil
		v.Intent = &in
	}
}

// Cell is what an acceptor has accepted for a key.
type Cell struct {
	// Accepted is the ballot of the last Accept; zero where there was none.
	Accepted Ballot
	Value    Value
}

// IsZero reports whether nothing was ever accepted.
func (c *Cell) IsZero() bool { return c.Accepted.IsZero() }

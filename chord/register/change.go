package register

import (
	"fmt"
	"time"
)

// Kind is what a Change does. Kinds travel and never change their meaning.
type Kind uint8

// The kinds.
const (
	// Identity changes nothing: a read that goes through a ballot.
	Identity Kind = 1 + iota
	// Put stores Data and Flags.
	Put
	// Delete leaves a tombstone.
	Delete
	// Pop leaves a tombstone and answers what was there.
	Pop
	// Place puts an intent of Txn beside the value. It answers the value as it is
	// when that is applied, without data. Where it stands already it does nothing.
	Place
	// Resolve applies (Over.Committed) or removes the intent of Over.Txn; where none
	// of it is it does nothing.
	Resolve
	// Nudge adds a nudge to a status that is pending and validates, and answers the
	// status.
	Nudge
	// Commit turns a status that is pending and has Index nudges into Committed, and
	// answers what it is then.
	Commit
	// Abort turns a status that is pending into Aborted by Txn, and answers what it is
	// then.
	Abort
	// Release ends the hold of Holding.Session, which has ended: the key is left
	// without a holder, or deleted. Where that session holds nothing it does nothing.
	Release
	// Renew adds a renewal to a session that lives, and answers what it is then.
	Renew
	// End ends a session that lives, and answers what it is then.
	End
)

var kindNames = [...]string{Identity: "identity", Put: "put", Delete: "delete", Pop: "pop", Place: "place", Resolve: "resolve", Nudge: "nudge", Commit: "commit", Abort: "abort", Release: "release", Renew: "renew", End: "end"}

func (k Kind) String() string {
	if k >= Identity && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Change is a function from a register's value to its next (CASPaxos, section
// 2.2), written down so that another node can apply it.
type Change struct {
	Kind Kind
	// Data and Flags are what Put stores.
	Data  []byte
	Flags uint64
	// If restricts the change to a value whose modify index is Index; 0 is a
	// key that does not exist.
	If    bool
	Index uint64
	// Expires is what Put and Place store.
	Expires time.Duration
	// Take makes Put and Place store Holding; else the key keeps its own.
	Take    bool
	Holding Holding
	// Tell makes Put answer the value that it leaves, without data.
	Tell bool
	// Txn is whose intent Place places.
	Txn TxnID
	// Remove makes Place place a deletion, Guard an intent that changes nothing. With
	// Fresh, Put and Place create the key anew.
	Remove, Guard, Fresh bool
	// Over is resolved first, in the same change, where its intent is in the way of a
	// Put, Delete, Pop, Place or Release.
	Over Ended
	// Alive is a session that is known to have lived after the change was begun. A key
	// that is held can only be changed by who knows that of its holder: such a change
	// may be taken for one that came just before the holder's end. Others must release
	// the key first; else they could be lost with a key that goes with its holder, or
	// take away what is known of the lock delay.
	Alive string
	// Fences are the rights to write that the change was made with, each of another
	// lock, at most MaxTags.
	Fences []Fence
}

// writes reports whether the change could ever change a value, so that sending
// it can leave a doubt behind.
func (c *Change) writes() bool { return c.Kind != Identity }

// size is what the change costs a queue, in bytes.
func (c *Change) size() int {
	n := 64 + len(c.Data) + len(c.Holding.Session) + len(c.Alive)
	for _, f := range c.Fences {
		n += len(f.Key)
	}
	return n
}

// Apply returns the value after the change, written as w, and what to answer.
// Without a change it returns cur itself. A value with an intent refuses what
// would change it (Held); the answer names the intent.
func (c *Change) Apply(cur Value, w Past) (next Value, changed bool, res Result) {
	switch c.Kind {
	case Identity:
		return cur, false, Result{Outcome: Done, Index: cur.Index(), Value: cur}
	case Resolve:
		if next, changed = cur.without(c.Over); changed {
			next = next.hide(w)
		}
		return next, changed, Result{Outcome: Done, Index: next.Index()}
	case Nudge, Commit, Abort:
		return c.applyStatus(cur, w)
	case Renew, End:
		return c.applySession(cur, w)
	case Put, Delete, Pop, Place, Release:
	default:
		panic(fmt.Sprintf("register: apply of %v", c.Kind))
	}
	base, resolved := cur.without(c.Over)
	switch in := base.Intent; {
	case in != nil && c.Kind == Place && in.Txn == c.Txn:
		return cur, false, base.placed()
	case in != nil:
		return cur, false, Result{Outcome: Held, Index: base.Index(), Value: Value{Intent: &Intent{Txn: in.Txn, Stamp: in.Stamp}}}
	case c.Kind == Release:
		return c.release(cur, base, resolved, w)
	case base.Holder() != "" && base.Holder() != c.Alive:
		return cur, false, Result{Outcome: Held, Index: base.Index(), Value: Value{Holding: base.Holding}}
	case c.If && c.Index != base.Index():
		return cur, false, Result{Outcome: Refused, Index: base.Index()}
	}
	if c.Kind == Place {
		return c.place(cur, base, w)
	}
	res = Result{Outcome: Done, Index: base.Index()}
	if c.Kind == Pop {
		res.Value = base
	}
	if c.Kind != Put && !base.Live {
		if resolved {
			return base.hide(w), true, res
		}
		return cur, false, res
	}
	content := Content{}
	if c.Kind == Put {
		content = c.content(&base)
	}
	next = base.put(content, c.Fresh, w.Write.Time, cur.extend(w))
	res.Index = w.Write.Time
	if c.Kind == Put && c.Tell {
		res.Value = next.Head()
	}
	return next, true, res
}

// content is what a Put or a Place stores on top of v.
func (c *Change) content(v *Value) Content {
	content := Content{Live: true, Data: c.Data, Flags: c.Flags, Holding: c.Holding, Expires: c.Expires}
	if !c.Take {
		content.Holding = v.past()
		if v.Live && !c.Fresh {
			content.Holding = v.Holding
		}
	}
	return content
}

// past is what a key keeps of a holder whose session has ended when it is deleted
// or created anew.
func (v *Value) past() Holding {
	if !v.Over {
		return Holding{}
	}
	return Holding{Session: v.Session, Over: true}
}

// release carries out Release on base, which is cur with Over resolved.
func (c *Change) release(cur, base Value, resolved bool, w Past) (next Value, changed bool, res Result) {
	switch {
	case base.Session == "" || base.Session != c.Holding.Session || base.Over:
		if next = cur; resolved {
			next, changed = base.hide(w), true
		}
		return next, changed, Result{Outcome: Done, Index: next.Index()}
	case base.Delete:
		next = Value{}
	default:
		next = base
	}
	next.Holding = Holding{Session: base.Session, Holders: base.Holders, Over: true}
	if base.Delete {
		next.Holders = 0
	}
	next.Hidden, next.Shown, next.Lineage = false, 0, cur.extend(w)
	return next, true, Result{Outcome: Done, Index: next.Index()}
}

// Leaves returns what hosts would see of a Place of c on top of v, but for the
// timestamps.
func (c *Change) Leaves(v *Value) Value {
	if c.Remove {
		return Value{}
	}
	n := c.content(v)
	return Value{Live: true, Data: n.Data, Flags: n.Flags, Holding: n.Holding, Expires: n.Expires}
}

// place puts an intent beside base, which is cur with Over resolved.
func (c *Change) place(cur, base Value, w Past) (next Value, changed bool, res Result) {
	if len(base.Data)+len(c.Data) > MaxCellData {
		return cur, false, Result{Outcome: Oversized, Index: base.Index()}
	}
	in := &Intent{Txn: c.Txn, Guard: c.Guard, Fresh: c.Fresh, Stamp: w.Write.Time}
	if !c.Guard && !c.Remove {
		in.New = c.content(&base)
	}
	next = base.hide(w)
	next.Intent = in
	return next, true, next.placed()
}

// placed answers a Place whose intent stands in v.
func (v Value) placed() Result {
	applied := v.Applied()
	return Result{Outcome: Done, Index: applied.Index(), Value: applied.Head()}
}

func (c *Change) applySession(cur Value, w Past) (next Value, changed bool, res Result) {
	next = cur
	switch s, ok := c.turn(&cur); {
	case c.If && c.Index != cur.Index():
		return cur, false, Result{Outcome: Refused, Index: cur.Index(), Value: cur}
	case ok:
		content := Content{Live: true, Data: AppendSession(nil, &s), Expires: s.Lasts()}
		next = cur.put(content, false, w.Write.Time, cur.extend(w))
		changed = true
	}
	return next, changed, Result{Outcome: Done, Index: next.Index(), Value: next}
}

func (c *Change) applyStatus(cur Value, w Past) (next Value, changed bool, res Result) {
	next = cur
	if data, ok := c.decide(&cur); ok {
		next = cur.put(Content{Live: true, Data: data}, false, w.Write.Time, cur.extend(w))
		changed = true
	}
	return next, changed, Result{Outcome: Done, Index: next.Index(), Value: next}
}

// Outcome is how an operation ended. The zero value is invalid.
type Outcome uint8

// The outcomes. They travel and never change their meaning.
const (
	// Done: the operation took effect, once.
	Done Outcome = 1 + iota
	// Refused: its condition did not hold; it had no effect and never will.
	Refused
	// NoQuorum: too few owners answered in time; it had no effect and never will.
	NoQuorum
	// Unknown: it may have taken effect, or may still.
	Unknown
	// Overloaded: a queue was full; it had no effect and never will.
	Overloaded
	// Drifted: owners refuse this node's clock; it had no effect and never will.
	Drifted
	// Held: an intent of a transaction was in the way, or a holder of which it must be
	// known whether it lives; it had no effect and never will.
	Held
	// Oversized: a value and an intent together are too large; it had no effect and
	// never will. With a fence that is the value and the one that it replaces.
	Oversized
	// Fenced: a newer fence of a lock is known than the change carries; it had no
	// effect and never will.
	Fenced
)

func (o Outcome) String() string {
	switch o {
	case Done:
		return "done"
	case Refused:
		return "refused"
	case NoQuorum:
		return "no quorum"
	case Unknown:
		return "unknown"
	case Overloaded:
		return "overloaded"
	case Drifted:
		return "drifted"
	case Held:
		return "held"
	case Oversized:
		return "oversized"
	case Fenced:
		return "fenced"
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Result is the answer to an operation.
type Result struct {
	// Token is the caller's name for the operation.
	Token uint64
	// Outcome says how it ended.
	Outcome Outcome
	// Index is the modify index after the operation; with Refused the index found.
	Index uint64
	// Value is what a read found and what a Pop took; see also the kinds that say
	// what they answer. With Held it has the intent, without what that is to leave, or
	// else the holder.
	Value Value
	// Answered and Owners say how many owners were heard in the last attempt.
	Answered, Owners int
}

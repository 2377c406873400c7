package register

import "fmt"

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
)

func (k Kind) String() string {
	switch k {
	case Identity:
		return "identity"
	case Put:
		return "put"
	case Delete:
		return "delete"
	case Pop:
		return "pop"
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
}

// writes reports whether the change could ever change a value, so that sending
// it can leave a doubt behind.
func (c *Change) writes() bool { return c.Kind != Identity }

// size is what the change costs a queue, in bytes.
func (c *Change) size() int { return 64 + len(c.Data) }

// apply returns the value after the change, written as w, and what to answer.
// Without a change it returns cur itself.
func (c *Change) apply(cur Value, w Past) (next Value, changed bool, res Result) {
	if c.If && c.Index != cur.Index() {
		return cur, false, Result{Outcome: Refused, Index: cur.Index()}
	}
	done := Result{Outcome: Done, Index: cur.Index()}
	switch c.Kind {
	case Put:
		next = Value{Live: true, Data: c.Data, Flags: c.Flags, Create: w.Write.Time, Lineage: cur.extend(w)}
		if cur.Live {
			next.Create = cur.Create
		}
		done.Index = w.Write.Time
		return next, true, done
	case Identity:
		done.Value = cur
		return cur, false, done
	case Pop:
		done.Value = cur
	case Delete:
	default:
		panic(fmt.Sprintf("register: apply of %v", c.Kind))
	}
	if !cur.Live {
		return cur, false, done
	}
	done.Index = w.Write.Time
	return Value{Lineage: cur.extend(w)}, true, done
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
	// Value is what a read found and what a Pop took.
	Value Value
	// Answered and Owners say how many owners were heard in the last attempt.
	Answered, Owners int
}

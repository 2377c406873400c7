package txn

import (
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Registers is what transactions run on: registers that are linearizable each,
// and a way to wait. Calls block. They end with an error when too few owners
// answer or the caller's time is over; then a change has not happened and never
// will, unless the error wraps ErrUnknown: then it may have happened, or may
// still happen, at most once.
type Registers interface {
	// Read returns the cell of a key.
	Read(key string) (Cell, error)
	// Write changes a key by itself. A cell with an intent answers Held.
	Write(key string, w Write) (Answer, error)
	// Place puts an intent of the transaction at a key. Another's intent answers
	// Held; one of its own answers Done.
	Place(key string, id ID, w Write) (Answer, error)
	// Resolve makes the transaction's intent at a key what hosts see (commit: see
	// Cell.Applied) or removes it. Where none of that transaction is it does nothing.
	Resolve(key string, id ID, commit bool) error

	// Create creates a status; one that exists is left as it is.
	Create(id ID, s Status) error
	// Status returns a status; with nudge it first adds a nudge if it is pending.
	Status(id ID, nudge bool) (Status, error)
	// Commit turns a status that is pending and has exactly so many nudges into
	// Committed, and returns what it is then.
	Commit(id ID, nudges uint64) (Status, error)
	// Abort turns a status that is pending into Aborted, by another transaction
	// unless by is zero, and returns what it is then.
	Abort(id, by ID) (Status, error)
	// Forget deletes a status.
	Forget(id ID) error

	// Scan returns the cells in a range, each as it was at some moment of the call.
	Scan(q Range) (Picture, error)

	// NewID returns a ballot of this node that was never used.
	NewID() (register.Ballot, error)
	// Now is a clock that runs steadily and is compared with itself only.
	Now() time.Duration
	// Sleep waits for about that long, with jitter.
	Sleep(d time.Duration) error
	// Each calls do with 0 to n-1, as many at a time as is good, waits for all and
	// returns the first error.
	Each(n int, do func(i int) error) error
	// Later runs do in the background, with registers that wait for their own time.
	// It may be lost; whoever comes next finishes.
	Later(do func(r Registers))
}

// Write is a change of one key.
type Write struct {
	Content
	// KeepLock keeps the Session and LockIndex that the key has.
	KeepLock bool
	// Guard changes nothing: an intent that keeps others from the key.
	Guard bool
	// Over is resolved first, in the same change, if its intent is in the way.
	Over Ended
	// If restricts the change to the modify index Index; 0 is a key that does not
	// exist.
	If    bool
	Index uint64
}

// Ended names a transaction that is committed, or one that is aborted or over.
type Ended struct {
	Txn       ID
	Committed bool
}

// Onto returns the content that w leaves on top of cur.
func (w Write) Onto(cur Cell) Content {
	c := w.Content
	if !c.Live {
		return Content{}
	}
	if w.KeepLock {
		c.Session, c.LockIndex = cur.Session, cur.LockIndex
	}
	return c
}

// Outcome is how a change of a key ended. The zero value is invalid.
type Outcome uint8

// The outcomes.
const (
	// Done: it took effect.
	Done Outcome = 1 + iota
	// Refused: its condition did not hold.
	Refused
	// Held: an intent of another transaction is in the way.
	Held
	// Oversized: old and new value together are too large for one cell.
	Oversized
)

// Answer says what became of a change. All but Done mean that nothing happened.
type Answer struct {
	Outcome Outcome
	// Index is the modify index after the change, or after the intent is applied; 0
	// for a deletion. With Refused it is the index found.
	Index uint64
	// Create is the create index that goes with it.
	Create uint64
	// By is the transaction whose intent is in the way, with Held.
	By ID
}

// Range is a part of the keys under a prefix, in the order of their bytes.
type Range struct {
	Prefix string
	// After is the key after which it begins; UpTo, unless empty, the last one.
	After, UpTo string
	// Limit is how many live keys are wanted, about; 0 is all.
	Limit int
	// Values asks for data, too.
	Values bool
}

// Picture is what a scan saw.
type Picture struct {
	// Cells are sorted by key. Tombstones are among them, as far as they are kept.
	Cells []KeyCell
	// More says that the range goes on after UpTo, where the scan ended.
	More bool
	UpTo string
	// Still reports whether no cell of the range, so far as it was scanned, has
	// changed since the scan saw it. It may err on the side of false.
	Still func() (bool, error)
}

// KeyCell is a cell and its key.
type KeyCell struct {
	Key string
	Cell
}

// Sessions answers for the sessions that locks are held with. A session that
// ended has ended for good.
type Sessions interface {
	// Alive reports whether a session exists and has not ended.
	Alive(session string) (bool, error)
	// Free reports whether a key may be locked that holder (which may be empty) is
	// named as the holder of: nobody holds it and no lock delay is running.
	Free(key, holder string) (bool, error)
}

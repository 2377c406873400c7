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
	// Read returns the value of a key, with its intent if there is one.
	Read(key string) (register.Value, error)
	// Change changes a key. The outcomes Done, Refused, Held, Oversized and
	// Fenced are results; others are errors.
	Change(key string, c register.Change) (register.Result, error)
	// Scan returns what is in a range, each key as it was at some moment of the call.
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
	// Keys are sorted. Tombstones are among them, as far as they are kept.
	Keys []KeyValue
	// More says that the range goes on after UpTo, where the scan ended.
	More bool
	UpTo string
	// Moved returns the keys of the range, so far as it was scanned, that may have
	// changed since the scan saw them, without Before; false if that can not be said.
	Moved func() ([]Move, bool, error)
}

// KeyValue is a key and what its register holds.
type KeyValue struct {
	Key string
	register.Value
}

// seen is what a transaction remembers of a read.
type seen struct {
	live   bool
	stamp  uint64
	holder string
}

func sight(v *register.Value) seen { return seen{v.Live, v.Stamp(), v.Holder()} }

// still reports whether hosts saw nothing happen to a key between two reads of it.
// A tombstone may have been forgotten between them. That nothing else happened
// then is because registers keep tombstones for longer than a transaction lives;
// see Config.Life.
func (before seen) still(now *register.Value) bool {
	return before.stamp == now.Stamp() || !before.live && !now.Live && now.Stamp() == 0
}

// status reads a status.
func status(r Registers, id ID) (register.Status, error) {
	v, err := r.Read(id.Key())
	if err != nil {
		return register.Status{}, err
	}
	return register.StatusOf(&v)
}

// decide changes a status and returns what it is then.
func decide(r Registers, id ID, c register.Change) (register.Status, error) {
	res, err := r.Change(id.Key(), c)
	switch {
	case err != nil:
		return register.Status{}, err
	case res.Outcome == register.Fenced:
		return register.Status{}, fenced("")
	}
	return register.StatusOf(&res.Value)
}

// abort aborts a transaction that is pending, for another unless by is zero.
func abort(r Registers, id, by ID) (register.Status, error) {
	return decide(r, id, register.Change{Kind: register.Abort, Txn: by})
}

// create creates a status; one that exists is left as it is.
func create(r Registers, id ID, s register.Status) error {
	_, err := r.Change(id.Key(), register.Change{Kind: register.Put, Data: register.AppendStatus(nil, &s), If: true})
	return err
}

// forget deletes a status.
func forget(r Registers, id ID) error {
	_, err := r.Change(id.Key(), register.Change{Kind: register.Delete})
	return err
}

// resolve applies or removes the intent of a transaction that ended.
func resolve(r Registers, key string, over register.Ended) error {
	_, err := r.Change(key, register.Change{Kind: register.Resolve, Over: over})
	return err
}

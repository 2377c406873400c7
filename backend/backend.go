package backend

import (
	"context"
	"time"
)

// Backend is a linearizable key/value store. All methods are safe for use by
// many goroutines. Returned entries and byte slices belong to the caller;
// slices passed in are not kept after the call returns.
//
// Every call honours its context. A call whose deadline passes ends with
// NoQuorum when nothing was sent that could still take effect and with
// UnknownOutcome when something was. A context without a deadline waits for as
// long as it takes.
//
// What a backend can do beyond that it says by the interfaces Transactional,
// Watcher, Sessions, Locker and Fencer; see CapabilitiesOf.
type Backend interface {
	// Get returns the entry of key, or nil when there is none.
	Get(ctx context.Context, key string, opts GetOptions) (*Entry, error)

	// Put stores value at key and returns the modify index of the change.
	Put(ctx context.Context, key string, value []byte, opts PutOptions) (index uint64, err error)

	// Delete removes key. Deleting a missing key is no error unless a condition
	// asks for an index other than 0.
	Delete(ctx context.Context, key string, opts DeleteOptions) error

	// Pop reads and deletes key in one change. It returns nil when there was
	// none; a fallback is the caller's to choose (see PopOr).
	Pop(ctx context.Context, key string) (*Entry, error)

	// PopItem pops any one live key. It returns nil when there are no keys.
	PopItem(ctx context.Context) (*Entry, error)

	// List returns what lies under a prefix, as one atomic snapshot.
	List(ctx context.Context, q ListQuery) (*ListResult, error)

	// Limits returns the sizes that this backend accepts.
	Limits() Limits

	// Close ends the backend. Calls that wait and later calls fail with Closed.
	// Closing twice is no error.
	Close() error
}

// GetOptions change how one key is read. The zero value is a linearizable read.
type GetOptions struct {
	// Stale reads one owner's copy without asking the others. It may be old,
	// and it may show a write that is not chosen yet. Never the default.
	Stale bool
}

// PutOptions change how a value is stored.
type PutOptions struct {
	// If makes the write conditional; without it the write always happens.
	If Condition
	// Flags is an opaque number stored with the value.
	Flags uint64
	// ExpiresAfter is the lifetime of the key, MinTTL to MaxTTL; 0 is for ever.
	// The key disappears for all readers at once, and not before it has been left
	// unchanged for so long; it may stay longer, since no two clocks are compared.
	// Every Put sets the lifetime anew. A backend that lacks CanExpire refuses it
	// with Invalid.
	ExpiresAfter time.Duration
	// Fence, when it is not zero, makes the write fail with Fenced and change
	// nothing once a newer holder of that lock has called Fencer.Fence. A backend
	// that lacks CanFence refuses it with Invalid.
	Fence Fence
}

// DeleteOptions change how a key is deleted.
type DeleteOptions struct {
	// If makes the delete conditional.
	If Condition
	// Fence is as in PutOptions.
	Fence Fence
}

// Condition restricts a change to one version of a key. The zero value is no
// condition. A condition that does not hold fails with Conflict and changes
// nothing.
type Condition struct {
	set   bool
	index uint64
}

// IfIndex holds when the key's modify index is exactly n. IfIndex(0) holds when
// the key does not exist.
func IfIndex(n uint64) Condition { return Condition{set: true, index: n} }

// IfAbsent holds when the key does not exist.
func IfAbsent() Condition { return IfIndex(0) }

// Index returns the index asked for, and whether there is a condition at all.
func (c Condition) Index() (n uint64, ok bool) { return c.index, c.set }

// Holds reports whether c holds for a key whose modify index is index (0: the
// key does not exist).
func (c Condition) Holds(index uint64) bool { return !c.set || c.index == index }

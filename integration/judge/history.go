// Package judge decides whether what clients saw of a ring can be true.
package judge

import (
	"fmt"
	"sync"
	"time"
)

// Kind is what a client did to a key.
type Kind int

// The kinds.
const (
	Get Kind = iota + 1
	Put
	Delete
	Pop
	// CAS puts Value if the key holds Expect.
	CAS
	// Fence keeps writes with a lower Token from happening. It is one operation for
	// each key that they may write.
	Fence
)

var kindNames = map[Kind]string{Get: "get", Put: "put", Delete: "delete", Pop: "pop", CAS: "cas", Fence: "fence"}

// String returns the kind's name.
func (k Kind) String() string {
	if s, ok := kindNames[k]; ok {
		return s
	}
	return fmt.Sprintf("kind %d", int(k))
}

// Outcome is how an operation ended.
type Outcome int

// The outcomes.
const (
	// Done: it happened.
	Done Outcome = iota + 1
	// Refused: the condition of a CAS did not hold, or the Token was fenced off.
	Refused
	// Unknown: it may have happened, or may still happen.
	Unknown
	// Nothing: it failed and changed nothing.
	Nothing
)

// Operation is what one client did and saw. Values must be unique, so that each
// names the write that wrote it; "" is no key.
type Operation struct {
	// Client counts the clients from 0; each does one thing after the other.
	Client int
	// Member is the member that was asked.
	Member string
	Kind   Kind
	Key    string
	// Value is what was put, or what Get and Pop returned.
	Value string
	// Expect is the value that a CAS asks for.
	Expect string
	// Token is that of the lock under which a write was made, 0 for none, or that
	// of a Fence.
	Token uint64
	// Index is the modify index that came back, 0 for none.
	Index uint64
	// Call and Return are times since the history began.
	Call, Return time.Duration
	Outcome      Outcome
	// Err is the error's text.
	Err string
}

// String returns the operation in one line.
func (o Operation) String() string {
	end := fmt.Sprintf("%9.3f", o.Return.Seconds()*1000)
	what := fmt.Sprintf("%s %s %q", o.Kind, o.Key, o.Value)
	if o.Kind == CAS {
		what = fmt.Sprintf("cas %s %q -> %q", o.Key, o.Expect, o.Value)
	}
	if o.Token != 0 {
		what += fmt.Sprintf(" token %d", o.Token)
	}
	saw := fmt.Sprintf("index %d", o.Index)
	switch o.Outcome {
	case Refused:
		saw = "refused"
	case Unknown:
		saw = "unknown: " + o.Err
	case Nothing:
		saw = "nothing: " + o.Err
	}
	return fmt.Sprintf("%10.3f ..%s ms  client %-2d at %-8s %-44s %s", o.Call.Seconds()*1000, end, o.Client, o.Member, what, saw)
}

// History collects operations. It is safe for concurrent use.
type History struct {
	begun time.Time

	mu  sync.Mutex
	ops []Operation
}

// NewHistory returns an empty history that begins now.
func NewHistory() *History { return &History{begun: time.Now()} }

// Now is the time since the history began, on the monotonic clock.
func (h *History) Now() time.Duration { return time.Since(h.begun) }

// Add notes an operation that has ended.
func (h *History) Add(o Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// Operations returns what was noted so far, in the order of the ends.
func (h *History) Operations() []Operation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Operation(nil), h.ops...)
}

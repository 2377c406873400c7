package txn

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnknown is wrapped by errors of Registers that leave a doubt behind, and by
// those of this package that do.
var ErrUnknown = errors.New("the outcome is unknown")

// Kind classifies an error. The zero value is invalid.
type Kind uint8

// The kinds. All but Unknown mean that nothing happened.
const (
	// Conflict: the transaction lost against another; try again.
	Conflict Kind = 1 + iota
	// Unavailable: registers did not answer.
	Unavailable
	// Unknown: it may have committed.
	Unknown
	// TooLarge: it is over a limit.
	TooLarge
	// ReadOnly: a write in a read-only transaction.
	ReadOnly
	// Over: it was committed or rolled back before.
	Over
	// Invalid: it can never succeed as it is.
	Invalid
	// Fenced: it was made with the fence of a former holder of a lock.
	Fenced
)

// Error is why a transaction, or an operation of this package, failed.
type Error struct {
	Kind Kind
	// Key is the key concerned, when there is one.
	Key string
	// Message says what happened and what to do.
	Message string
	// Cause is the error of Registers underneath, with Unavailable and Unknown.
	Cause error
	// by is the transaction that was in the way, with Conflict.
	by ID
}

func (e *Error) Error() string {
	s := "txn: "
	if e.Key != "" {
		s += fmt.Sprintf("key %q: ", e.Key)
	}
	s += e.Message
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Is makes an error of kind Unknown, and no other, match ErrUnknown, whatever its
// cause was.
func (e *Error) Is(target error) bool { return target == ErrUnknown && e.Kind == Unknown }

// KindOf returns the kind of err; 0 for an error that has none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

func unavailable(key string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return &Error{Kind: Unavailable, Key: key, Message: "too few owners answered; nothing was changed", Cause: err}
}

func conflict(key, message string) error { return &Error{Kind: Conflict, Key: key, Message: message} }

func tooLarge(key, format string, args ...any) error {
	return &Error{Kind: TooLarge, Key: key, Message: fmt.Sprintf(format, args...)}
}

func blocked(key string, by ID) error {
	return &Error{Kind: Conflict, Key: key, Message: "another transaction holds the key; try again", by: by}
}

// Fault is why an operation of a one-shot transaction failed.
type Fault uint8

// The faults.
const (
	// FaultMissing: the key does not exist.
	FaultMissing Fault = 1 + iota
	// FaultExists: the key exists.
	FaultExists
	// FaultIndex: the key has another modify index.
	FaultIndex
	// FaultSession: the session does not exist or has ended.
	FaultSession
	// FaultLocked: another holds the lock, or the lock delay is running.
	FaultLocked
	// FaultNotHeld: the session does not hold the key, or somebody does where nobody
	// should.
	FaultNotHeld
	// FaultTree: the delete-trees would delete more than MaxTree keys.
	FaultTree
	// FaultFenced: a newer fence is in force than that of the operation.
	FaultFenced
)

var faultTexts = map[Fault]string{
	FaultMissing: "the key does not exist", FaultExists: "the key exists", FaultIndex: "the key has another modify index",
	FaultSession: "the session does not exist or has ended", FaultLocked: "the key is locked, or its lock delay is running",
	FaultNotHeld: "another session, or none, holds the key", FaultTree: "too many keys are under the prefix",
	FaultFenced: "the fence is outdated: a newer one of the lock is in force; stop writing",
}

func (f Fault) String() string {
	if s, ok := faultTexts[f]; ok {
		return s
	}
	return fmt.Sprintf("fault %d", uint8(f))
}

// OpError says that an operation of a one-shot transaction failed.
type OpError struct {
	// Op is the operation's place in the transaction, from 0.
	Op    int
	Key   string
	Fault Fault
	// Index is the modify index that was found.
	Index uint64
}

// Failed is the error of a one-shot transaction whose checks failed. They did so
// at one moment; nothing was changed.
type Failed struct{ Errors []OpError }

func (f *Failed) Error() string {
	var b strings.Builder
	b.WriteString("txn: nothing was changed, since")
	for i, e := range f.Errors {
		if i > 0 {
			b.WriteString(";")
		}
		fmt.Fprintf(&b, " operation %d, key %q: %v", e.Op, e.Key, e.Fault)
	}
	return b.String()
}

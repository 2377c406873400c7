package backend

import (
	"errors"
	"fmt"
)

// Code classifies an error. Codes are append-only: their numbers travel over
// gRPC and HTTP and never change their meaning.
type Code uint32

// The codes. Only Conflict and NotReady mean "nothing happened, try again".
const (
	// Invalid: the request can never succeed as it is.
	Invalid Code = 1
	// TooLarge: a key, value, transaction or request is over a limit.
	TooLarge Code = 2
	// Conflict: a condition did not hold; nothing happened.
	Conflict Code = 3
	// NoQuorum: too few owners of the key answered before the deadline, and
	// nothing was sent that could still take effect.
	NoQuorum Code = 4
	// UnknownOutcome: the change may have happened, or may still happen.
	UnknownOutcome Code = 5
	// TxnConflict: a transaction lost against another; nothing happened.
	TxnConflict Code = 6
	// TxnReadOnly: a write in a read-only transaction.
	TxnReadOnly Code = 7
	// TxnDone: the transaction was already committed or rolled back.
	TxnDone Code = 8
	// Fenced: the write carried the token of a lock that has since been taken.
	Fenced Code = 9
	// SessionInvalid: the session does not exist or has ended.
	SessionInvalid Code = 10
	// LockLost: the lock is no longer held.
	LockLost Code = 11
	// NotReady: this node can not serve yet or just now; nothing happened.
	NotReady Code = 12
	// Closed: the backend was closed, or the process that served it is gone.
	Closed Code = 13
	// Unauthorized: the credentials do not allow the request.
	Unauthorized Code = 14
	// Internal: a fault of ours, or of the machine below us.
	Internal Code = 15
)

var codeNames = map[Code]string{
	Invalid: "invalid", TooLarge: "too large", Conflict: "conflict", NoQuorum: "no quorum",
	UnknownOutcome: "unknown outcome", TxnConflict: "transaction conflict", TxnReadOnly: "transaction is read-only",
	TxnDone: "transaction is done", Fenced: "fenced", SessionInvalid: "session invalid", LockLost: "lock lost",
	NotReady: "not ready", Closed: "closed", Unauthorized: "unauthorized", Internal: "internal",
}

// String returns the code's name in words.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return fmt.Sprintf("code %d", uint32(c))
}

// Known reports whether c is a code of this version.
func (c Code) Known() bool { _, ok := codeNames[c]; return ok }

// Error is the one error type of the contract. It crosses process borders whole.
type Error struct {
	// Code says what class of thing happened.
	Code Code
	// Key is the key concerned, when there is one.
	Key string
	// Message says what happened and what to do, in a sentence without the key.
	Message string
	// Answered and Owners say how many of the key's owners answered, for
	// NoQuorum and UnknownOutcome; both are 0 where it is not known.
	Answered, Owners int
	// Ops are the operations of a one-shot transaction that failed, in order, when
	// the error is about them; see Transactional.
	Ops []OpError
	// Cause is the error underneath in this process; it does not cross a border.
	Cause error
}

// Errorf makes an error of a code about a key (which may be empty). A %w in the
// format becomes the cause.
func Errorf(code Code, key, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Key: key, Message: err.Error(), Cause: errors.Unwrap(err)}
}

func (e *Error) Error() string {
	s := e.Code.String()
	if e.Key != "" {
		s = fmt.Sprintf("%s: key %q", s, e.Key)
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if len(e.Ops) > 0 {
		s += fmt.Sprintf(" (operation %d, the first of %d that failed)", e.Ops[0].Op, len(e.Ops))
	}
	if e.Owners > 0 {
		s += fmt.Sprintf(" (%d of %d owners answered)", e.Answered, e.Owners)
	}
	return s
}

func (e *Error) Unwrap() error { return e.Cause }

// Is matches the sentinels below by code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Key == "" && t.Message == "" && t.Code == e.Code
}

// Sentinels for errors.Is, one a code.
var (
	ErrInvalid        = &Error{Code: Invalid}
	ErrTooLarge       = &Error{Code: TooLarge}
	ErrConflict       = &Error{Code: Conflict}
	ErrNoQuorum       = &Error{Code: NoQuorum}
	ErrUnknownOutcome = &Error{Code: UnknownOutcome}
	ErrTxnConflict    = &Error{Code: TxnConflict}
	ErrTxnReadOnly    = &Error{Code: TxnReadOnly}
	ErrTxnDone        = &Error{Code: TxnDone}
	ErrFenced         = &Error{Code: Fenced}
	ErrSessionInvalid = &Error{Code: SessionInvalid}
	ErrLockLost       = &Error{Code: LockLost}
	ErrNotReady       = &Error{Code: NotReady}
	ErrClosed         = &Error{Code: Closed}
	ErrUnauthorized   = &Error{Code: Unauthorized}
	ErrInternal       = &Error{Code: Internal}
)

// CodeOf returns the code of err: 0 for nil, Internal for an error that has none.
func CodeOf(err error) Code {
	if err == nil {
		return 0
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}

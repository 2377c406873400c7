package mesh

import (
	"context"
	"errors"
	"fmt"
)

// The errors of Send and Call. They come wrapped with the peer concerned.
var (
	// ErrNoRoute: the node is neither connected nor reachable through others.
	// Nothing was sent, or an intermediate node says that it sent nothing on.
	ErrNoRoute = errors.New("no route to the node")
	// ErrQueueFull: the connection's queue, or the table of outstanding calls, is
	// at its limit. Nothing was sent.
	ErrQueueFull = errors.New("the queue to the node is full")
	// ErrTooLarge: the message does not fit into Config.MaxFrame. Nothing was sent.
	ErrTooLarge = errors.New("the message is too large")
	// ErrConnLost: the connection broke while a response was awaited. The request
	// may or may not have been carried out.
	ErrConnLost = errors.New("the connection was lost")
	// ErrNoDeadline: the context of a Call has no deadline. Nothing was sent.
	ErrNoDeadline = errors.New("a call needs a context with a deadline")
	// ErrClosed: the mesh was closed, or not started.
	ErrClosed = errors.New("the mesh is closed")
	// ErrMalformed: bytes from a peer are not a frame, or not the body they should be.
	ErrMalformed = errors.New("malformed")
)

// The codes of a RemoteError that the mesh itself makes; a handler's own codes
// are below CodeReserved.
const (
	// CodeReserved is the first code that belongs to the mesh.
	CodeReserved uint32 = 1<<31 + iota
	// CodeBusy: the node runs as many calls as it may; nothing was done.
	CodeBusy
	// CodeNoHandler: the node knows no such call; nothing was done.
	CodeNoHandler
	// CodeFailed: the handler returned an error without a code.
	CodeFailed
	// CodeTooLarge: the response does not fit into a frame.
	CodeTooLarge
	// CodeDeadline: the handler ended at the call's deadline. Such an error is
	// context.DeadlineExceeded to errors.Is.
	CodeDeadline
)

// ErrBusy matches, with errors.Is, a call that was refused because the node runs
// as many as it may. Nothing was done.
var ErrBusy = &RemoteError{Code: CodeBusy, Message: "busy"}

// RemoteError is the error a handler returned, at the caller. A handler that
// returns one (or wraps one) chooses the code.
type RemoteError struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`
	Code    uint32
	Message string
}

func (e *RemoteError) Error() string { return fmt.Sprintf("remote error %d: %s", e.Code, e.Message) }

// Is reports whether target is a RemoteError with the same code.
func (e *RemoteError) Is(target error) bool {
	if target == context.DeadlineExceeded {
		return e.Code == CodeDeadline
	}
	t, ok := target.(*RemoteError)
	return ok && t.Code == e.Code
}

// Refusal says why a handshake failed.
type Refusal uint8

// The reasons to refuse a connection. Append only: they travel.
const (
	// RefusedMalformed: the hello cannot be right.
	RefusedMalformed Refusal = 1 + iota
	// RefusedProtocol: no protocol version in common.
	RefusedProtocol
	// RefusedSelf: the connection comes from this very process.
	RefusedSelf
	// RefusedSameID: another process has our node ID.
	RefusedSameID
	// RefusedCollision: another node's ID begins with the same 64 bits.
	RefusedCollision
	// RefusedRing: the peer belongs to another ring.
	RefusedRing
	// RefusedWrongNode: the caller wants another node than the one that listens here.
	RefusedWrongNode
	// RefusedDuplicate: another connection between the two is kept. Not a fault.
	RefusedDuplicate
	// RefusedFull: MaxIncoming connections are open.
	RefusedFull
	// RefusedForgotten: the node is not, or no longer, wanted.
	RefusedForgotten
)

// RefusedError is a failed handshake, the same at both ends but for Remote.
type RefusedError struct {
	Reason Refusal
	Text   string
	// Remote: the other side refused.
	Remote bool
}

func (e *RefusedError) Error() string {
	if e.Remote {
		return "the peer refused the connection: " + e.Text
	}
	return "connection refused: " + e.Text
}

func refuse(reason Refusal, format string, args ...any) *RefusedError {
	return &RefusedError{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

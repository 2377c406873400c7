package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

const (
	// maxErrorMessage and maxErrorKey bound the detail of an error on the wire,
	// maxStatusText the text that tools show beside it, in bytes. Together they
	// travel in a gRPC trailer, of which some implementations accept 16 KiB.
	maxErrorMessage = 4 << 10
	maxErrorKey     = 4 << 10
	maxStatusText   = 512
)

// statusCodes gives each code of the contract the gRPC code that tools show. The
// detail decides; several of ours share one of theirs.
var statusCodes = map[backend.Code]codes.Code{
	backend.Invalid:        codes.InvalidArgument,
	backend.TooLarge:       codes.OutOfRange,
	backend.Conflict:       codes.FailedPrecondition,
	backend.NoQuorum:       codes.DeadlineExceeded,
	backend.UnknownOutcome: codes.Unknown,
	backend.TxnConflict:    codes.Aborted,
	backend.TxnReadOnly:    codes.FailedPrecondition,
	backend.TxnDone:        codes.FailedPrecondition,
	backend.Fenced:         codes.FailedPrecondition,
	backend.SessionInvalid: codes.NotFound,
	backend.LockLost:       codes.Aborted,
	backend.NotReady:       codes.Unavailable,
	backend.Closed:         codes.Unavailable,
	backend.Unauthorized:   codes.PermissionDenied,
	backend.Internal:       codes.Internal,
}

// effect says what a call may have done when it ends without an answer.
type effect bool

const (
	reads  effect = false
	writes effect = true
)

// unanswered is the code of a call whose context ended first.
func (e effect) unanswered() backend.Code {
	if e == writes {
		return backend.UnknownOutcome
	}
	return backend.NoQuorum
}

// encodeError makes of a backend's error the status that carries it whole.
func encodeError(err error, what effect) error {
	var e *backend.Error
	if !errors.As(err, &e) {
		code := backend.Internal
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			code = what.unanswered()
		}
		e = backend.Errorf(code, "", "%w", err)
	}
	st := status.New(codes.Internal, cut(e.Error(), maxStatusText))
	if c, ok := statusCodes[e.Code]; ok {
		st = status.New(c, cut(e.Error(), maxStatusText))
	}
	detailed, derr := st.WithDetails(&proto.Error{
		Code:     uint32(e.Code),
		Key:      cutKey(e.Key),
		Message:  cut(e.Message, maxErrorMessage),
		Answered: count(e.Answered),
		Owners:   count(e.Owners),
	})
	if derr != nil {
		return status.Errorf(codes.Internal, "plugin: encode error %q: %v", st.Message(), derr)
	}
	return detailed.Err()
}

// cutKey bounds a key in an error.
func cutKey(key string) []byte { return []byte(key[:min(len(key), maxErrorKey)]) }

// cut makes s valid UTF-8 of at most n bytes, as protobuf strings must be.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}

func count(n int) uint32 {
	return uint32(min(max(n, 0), 1<<31-1))
}

// decodeError returns the backend error that a failed call's status carries, or
// nil when the status is not the plugin's but gRPC's own.
func decodeError(st *status.Status) *backend.Error {
	for _, d := range st.Details() {
		p, ok := d.(*proto.Error)
		if !ok {
			continue
		}
		code, message := decodeCode(p.GetCode(), p.GetMessage())
		return &backend.Error{
			Code:     code,
			Key:      string(p.GetKey()),
			Message:  message,
			Answered: int(p.GetAnswered()),
			Owners:   int(p.GetOwners()),
		}
	}
	return nil
}

// decodeCode returns the code and the message of an error: those of a newer
// plugin's code, which this host does not know, are Internal and say so.
func decodeCode(number uint32, message string) (backend.Code, string) {
	if code := backend.Code(number); code.Known() {
		return code, message
	}
	return backend.Internal, strings.TrimSuffix(fmt.Sprintf("the plugin answered with code %d, which this host does not know: %s", number, message), ": ")
}

package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// The numbers travel over gRPC and HTTP. This table only ever gets longer.
var codes = []struct {
	code     Code
	number   uint32
	text     string
	sentinel *Error
}{
	{Invalid, 1, "invalid", ErrInvalid},
	{TooLarge, 2, "too large", ErrTooLarge},
	{Conflict, 3, "conflict", ErrConflict},
	{NoQuorum, 4, "no quorum", ErrNoQuorum},
	{UnknownOutcome, 5, "unknown outcome", ErrUnknownOutcome},
	{TxnConflict, 6, "transaction conflict", ErrTxnConflict},
	{TxnReadOnly, 7, "transaction is read-only", ErrTxnReadOnly},
	{TxnDone, 8, "transaction is done", ErrTxnDone},
	{Fenced, 9, "fenced", ErrFenced},
	{SessionInvalid, 10, "session invalid", ErrSessionInvalid},
	{LockLost, 11, "lock lost", ErrLockLost},
	{NotReady, 12, "not ready", ErrNotReady},
	{Closed, 13, "closed", ErrClosed},
	{Unauthorized, 14, "unauthorized", ErrUnauthorized},
	{Internal, 15, "internal", ErrInternal},
}

func TestCodesAreStable(t *testing.T) {
	for _, tc := range codes {
		require.Equal(t, tc.number, uint32(tc.code), tc.text)
		require.Equal(t, tc.text, tc.code.String())
		require.True(t, tc.code.Known(), tc.text)
		require.Equal(t, tc.code, tc.sentinel.Code)
	}
	require.Len(t, codeNames, len(codes), "a code is missing in this table")
	for _, unknown := range []Code{0, Code(len(codes) + 1), 1 << 31} {
		require.False(t, unknown.Known())
		require.Equal(t, fmt.Sprintf("code %d", uint32(unknown)), unknown.String())
	}
}

func TestIsGoesByCode(t *testing.T) {
	for _, have := range codes {
		err := fmt.Errorf("while storing: %w", Errorf(have.code, "k", "something happened"))
		for _, sentinel := range codes {
			require.Equal(t, have.code == sentinel.code, errors.Is(err, sentinel.sentinel), "%v, %v", have.text, sentinel.text)
		}
	}
}

func TestIsWantsABareSentinel(t *testing.T) {
	err := Errorf(Conflict, "k", "changed")
	require.False(t, errors.Is(err, Errorf(Conflict, "k", "changed")), "two errors are not one")
	require.False(t, errors.Is(err, &Error{Code: Conflict, Key: "other"}))
	require.False(t, errors.Is(err, io.EOF))
	require.True(t, errors.Is(err, err))
}

func TestErrorText(t *testing.T) {
	for _, tc := range []struct {
		err  *Error
		want string
	}{
		{ErrClosed, "closed"},
		{Errorf(Invalid, "", "the key is empty"), "invalid: the key is empty"},
		{Errorf(Conflict, "a/b", "it is %d", 7), `conflict: key "a/b": it is 7`},
		{&Error{Code: Conflict, Key: "a\n"}, `conflict: key "a\n"`},
		{&Error{Code: NoQuorum, Key: "k", Message: "too slow", Answered: 1, Owners: 5}, `no quorum: key "k": too slow (1 of 5 owners answered)`},
		{&Error{Code: NoQuorum, Owners: 3}, "no quorum (0 of 3 owners answered)"},
		{&Error{Code: 99, Message: "from a newer version"}, "code 99: from a newer version"},
	} {
		require.EqualError(t, tc.err, tc.want)
	}
}

func TestErrorfKeepsTheCause(t *testing.T) {
	err := Errorf(NoQuorum, "k", "gave up: %w", context.DeadlineExceeded)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, context.DeadlineExceeded, err.Cause)
	require.Equal(t, "gave up: context deadline exceeded", err.Message)
	require.NoError(t, Errorf(NoQuorum, "k", "gave up").Unwrap())
}

func TestCodeOf(t *testing.T) {
	require.Equal(t, Code(0), CodeOf(nil))
	require.Equal(t, Internal, CodeOf(io.EOF))
	require.Equal(t, Fenced, CodeOf(ErrFenced))
	require.Equal(t, Fenced, CodeOf(fmt.Errorf("outer: %w", Errorf(Fenced, "k", "inner"))))
	require.Equal(t, Conflict, CodeOf(Errorf(Conflict, "k", "outer: %w", ErrFenced)), "the outermost code counts")
}

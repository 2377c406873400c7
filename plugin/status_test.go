package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// Every code of the contract survives encoding and decoding, and has a gRPC
// code of its own choosing.
func TestErrorsRoundTrip(t *testing.T) {
	known := 0
	for code := backend.Code(1); code.Known(); code++ {
		known++
		for _, want := range []*backend.Error{
			{Code: code},
			{Code: code, Key: "a/b", Message: "what happened; what to do", Answered: 2, Owners: 5},
			{Code: code, Key: "not \xff UTF-8", Message: "größer", Owners: 5},
		} {
			wrapped := fmt.Errorf("wrapped: %w", want)
			for _, err := range []error{want, wrapped} {
				st := status.Convert(encodeError(err, reads))
				require.Equal(t, statusCodes[code], st.Code())
				require.NotEqual(t, codes.OK, st.Code())
				require.Equal(t, want, decodeError(st), "code %v", code)
			}
		}
	}
	require.Equal(t, len(statusCodes), known, "a code of the contract has no gRPC code, or the other way round")
}

func TestErrorsWithoutACode(t *testing.T) {
	for _, test := range []struct {
		err  error
		what effect
		want backend.Code
	}{
		{errors.New("disk"), reads, backend.Internal},
		{errors.New("disk"), writes, backend.Internal},
		{fmt.Errorf("get: %w", context.DeadlineExceeded), reads, backend.NoQuorum},
		{fmt.Errorf("put: %w", context.DeadlineExceeded), writes, backend.UnknownOutcome},
		{context.Canceled, reads, backend.NoQuorum},
		{context.Canceled, writes, backend.UnknownOutcome},
	} {
		got := decodeError(status.Convert(encodeError(test.err, test.what)))
		require.Equal(t, &backend.Error{Code: test.want, Message: test.err.Error()}, got)
	}
}

// A code from a newer peer is a fault whose number is kept, also the code 0.
func TestErrorsOfANewerPeer(t *testing.T) {
	for _, code := range []uint32{0, 16, 1<<32 - 1} {
		st, err := status.New(codes.Internal, "").WithDetails(&proto.Error{Code: code, Key: []byte("k"), Message: "new", Answered: 1, Owners: 3})
		require.NoError(t, err)
		want := &backend.Error{Code: backend.Internal, Key: "k", Answered: 1, Owners: 3,
			Message: fmt.Sprintf("the plugin answered with code %d, which this host does not know: new", code)}
		require.Equal(t, want, decodeError(st))
	}
}

// gRPC's own failures are not the plugin's answer.
func TestStatusWithoutDetail(t *testing.T) {
	st, err := status.New(codes.Internal, "other").WithDetails(&proto.Limits{})
	require.NoError(t, err)
	require.Nil(t, decodeError(st))
	require.Nil(t, decodeError(status.New(codes.Unavailable, "gone")))
}

// What is too long for a trailer is cut, between characters.
func TestErrorsAreBounded(t *testing.T) {
	long := strings.Repeat("ö", maxErrorMessage)
	e := decodeError(status.Convert(encodeError(&backend.Error{Code: backend.Invalid, Key: long, Message: "x" + long, Answered: -1, Owners: 1 << 40}, reads)))
	require.Equal(t, long[:maxErrorKey], e.Key)
	require.Equal(t, "x"+long[:maxErrorMessage-2], e.Message)
	require.Equal(t, 0, e.Answered)
	require.Equal(t, 1<<31-1, e.Owners)
	e = decodeError(status.Convert(encodeError(&backend.Error{Code: backend.Invalid, Message: "a\xffb"}, reads)))
	require.Equal(t, "a\uFFFDb", e.Message)
}

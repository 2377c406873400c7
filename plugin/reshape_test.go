package plugin_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

func TestReshape(t *testing.T) {
	c := open(t, map[string]string{"admin": "true"})
	ctx := context.Background() // the plugin answers calls without a deadline
	require.NoError(t, c.Leave(ctx))

	report, err := c.Remove(ctx, backend.RemoveRequest{Names: []string{"b", "c\xff"}, Confirm: true})
	require.NoError(t, err)
	want := &backend.RemoveReport{Epoch: 1<<64 - 1, Survivors: []string{"false true"}, AtRisk: 0.5, Missing: []string{"b", "c\ufffd"}}
	require.Equal(t, want, report)
	report, err = c.Remove(ctx, backend.RemoveRequest{Names: []string{"b"}, Force: true})
	require.NoError(t, err)
	require.Equal(t, []string{"true false"}, report.Survivors)
	_, err = c.Remove(ctx, backend.RemoveRequest{Names: []string{"c\xff"}})
	require.Equal(t, &backend.Error{Code: backend.Invalid, Message: `there is no member ["c\xff"]`}, err)

	page, err := c.Verify(ctx, backend.VerifyQuery{After: "a\x00&", Limit: 7, Repair: true})
	require.NoError(t, err)
	require.Equal(t, &backend.VerifyPage{Keys: 7, More: true, Next: "<a\x00&>", Problems: []backend.KeyProblem{{Key: "k", Missing: []string{"b"}, Copies: 1, Owners: 2}}}, page)
}

// Who waits for a change no longer does not know what became of it; a comparison
// changed nothing.
func TestReshapeGivenUp(t *testing.T) {
	c := open(t, map[string]string{"admin": "true"})
	for _, test := range []struct {
		call func(context.Context) error
		want backend.Code
	}{
		{c.Leave, backend.UnknownOutcome},
		{func(ctx context.Context) error {
			_, err := c.Verify(ctx, backend.VerifyQuery{Repair: true})
			return err
		}, backend.UnknownOutcome},
		{func(ctx context.Context) error { _, err := c.Verify(ctx, backend.VerifyQuery{}); return err }, backend.NoQuorum},
	} {
		err := test.call(within(t, 20*time.Millisecond))
		require.Equal(t, test.want, backend.CodeOf(err), "%v", err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
}

// A plugin without an operator's interface says so.
func TestReshapeWithoutAdmin(t *testing.T) {
	c := open(t, nil)
	require.ErrorContains(t, c.Leave(t.Context()), `does not have the capability "admin"`)
	_, err := c.Remove(t.Context(), backend.RemoveRequest{Names: []string{"b"}})
	require.ErrorIs(t, err, backend.ErrInvalid)
	_, err = c.Verify(t.Context(), backend.VerifyQuery{})
	require.ErrorIs(t, err, backend.ErrInvalid)
}

package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// TestErrorsCrossWhole sends every code, known and not yet known, through every
// operation and gets the same error back.
func TestErrorsCrossWhole(t *testing.T) {
	var want *backend.Error
	s := &scripted{
		get:  func(context.Context, string) (*backend.Entry, error) { return nil, want },
		put:  func(context.Context, string) (uint64, error) { return 0, fmt.Errorf("put it: %w", want) },
		del:  func(context.Context, string) error { return want },
		list: func(context.Context, backend.ListQuery) (*backend.ListResult, error) { return nil, want },
	}
	n := serve(t, func(cfg *Config) { cfg.Backend = s })
	c := n.client()
	ctx := t.Context()
	operations := map[string]func() error{
		"Get":       func() error { _, err := c.Get(ctx, "k", backend.GetOptions{}); return err },
		"stale Get": func() error { _, err := c.Get(ctx, "k", backend.GetOptions{Stale: true}); return err },
		"Put":       func() error { _, err := c.Put(ctx, "k", []byte("v"), backend.PutOptions{}); return err },
		"Put if": func() error {
			_, err := c.Put(ctx, "k", nil, backend.PutOptions{If: backend.IfAbsent()})
			return err
		},
		"Delete":    func() error { return c.Delete(ctx, "k", backend.DeleteOptions{}) },
		"Delete if": func() error { return c.Delete(ctx, "k", backend.DeleteOptions{If: backend.IfIndex(3)}) },
		"Pop":       func() error { _, err := c.Pop(ctx, "k"); return err },
		"PopItem":   func() error { _, err := c.PopItem(ctx); return err },
		"List":      func() error { _, err := c.List(ctx, backend.ListQuery{Prefix: "k"}); return err },
		"Status":    func() error { _, err := c.Status(ctx); return err },
		"Members":   func() error { _, err := c.Members(ctx); return err },
		"Ring":      func() error { _, err := c.Ring(ctx); return err },
		"Locate":    func() error { _, err := c.Locate(ctx, "k"); return err },
		"Leave":     func() error { return c.Leave(ctx) },
		"Remove":    func() error { _, err := c.Remove(ctx, backend.RemoveRequest{Names: []string{"b"}}); return err },
		"Verify":    func() error { _, err := c.Verify(ctx, backend.VerifyQuery{}); return err },
	}
	samples := []backend.Error{
		{},
		{Key: "k", Message: "plain"},
		{Key: "ü \"#%2F+\x01\xff" + strings.Repeat("é", 1000), Message: "two\r\nlines, 100% ü+\x00", Answered: 2, Owners: 5},
		{Message: "nobody answered", Owners: 5},
	}
	for code := backend.Code(1); code <= backend.Internal+2; code++ {
		for i, sample := range samples {
			sample.Code = code
			want = &sample
			n.admin.err = want
			for name, do := range operations {
				err := do()
				var got *backend.Error
				require.True(t, errors.As(err, &got), "%s, %s: %v", name, code, err)
				require.Equal(t, want, got, "%s, %s, sample %d", name, code, i)
			}
		}
	}
}

func TestStatusOfEveryCode(t *testing.T) {
	want := map[backend.Code]int{
		backend.Invalid: 400, backend.TooLarge: 413, backend.Conflict: 409, backend.NoQuorum: 503, backend.UnknownOutcome: 500,
		backend.TxnConflict: 409, backend.TxnReadOnly: 400, backend.TxnDone: 409, backend.Fenced: 409, backend.SessionInvalid: 500,
		backend.LockLost: 409, backend.NotReady: 503, backend.Closed: 503, backend.Unauthorized: 403, backend.Internal: 500,
	}
	var code backend.Code
	s := &scripted{get: func(_ context.Context, key string) (*backend.Entry, error) {
		return nil, backend.Errorf(code, key, "because")
	}}
	n := serve(t, func(cfg *Config) { cfg.Backend = s })
	for code = 1; code.Known(); code++ {
		got := n.send("GET", "/v1/kv/k", "")
		require.Equal(t, want[code], got.status, "%s", code)
		name := code.String()
		if code == backend.SessionInvalid {
			name = "invalid session" // as Consul's clients look for it
		}
		require.Equal(t, name+": key \"k\": because\n", got.body)
		require.Equal(t, got.status == 503, got.header.Get("Retry-After") == "1", "%s", code)
	}
	require.Len(t, want, int(code)-1, "a code has no status here")
	got := n.send("GET", "/v1/kv/k", "")
	require.Equal(t, 500, got.status, "a code that is not known")
}

func TestPlainErrorsAreInternal(t *testing.T) {
	s := &scripted{get: func(context.Context, string) (*backend.Entry, error) { return nil, errors.New("disk on fire") }}
	n := serve(t, func(cfg *Config) { cfg.Backend = s })
	_, err := n.client().Get(t.Context(), "k", backend.GetOptions{})
	require.EqualError(t, err, `internal: key "k": disk on fire`)
}

func TestLongMessagesAreCut(t *testing.T) {
	header := http.Header{}
	setErrorHeaders(header, &backend.Error{Code: backend.Internal, Message: strings.Repeat("x", 2*maxErrorHeader)})
	require.Equal(t, strings.Repeat("x", maxErrorHeader)+"...", readError(header).Message)
}

func TestReadErrorOfStrangeHeaders(t *testing.T) {
	require.Nil(t, readError(http.Header{}))
	header := http.Header{}
	header.Set(headerCode, "from the future")
	header.Set(headerKey, "%zz")
	header.Set(headerOwners, "many")
	require.Equal(t, &backend.Error{Code: backend.Internal, Key: "%zz"}, readError(header))
}

package httpapi

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// lineBuffer is a bytes.Buffer for many goroutines.
type lineBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lineBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lineBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// stranger serves something that is no agent and returns a client for it.
func stranger(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := NewClient(ClientConfig{Addr: s.URL})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// reads and changes are one call of each kind.
func reads(ctx context.Context, c *Client) map[string]error {
	out := map[string]error{}
	_, out["Get"] = c.Get(ctx, "k", backend.GetOptions{})
	_, out["List"] = c.List(ctx, backend.ListQuery{})
	_, out["Status"] = c.Status(ctx)
	_, out["Verify"] = c.Verify(ctx, backend.VerifyQuery{})
	return out
}

func changes(ctx context.Context, c *Client) map[string]error {
	out := map[string]error{}
	_, out["Put"] = c.Put(ctx, "k", []byte("v"), backend.PutOptions{})
	out["Delete"] = c.Delete(ctx, "k", backend.DeleteOptions{})
	_, out["Pop"] = c.Pop(ctx, "k")
	_, out["PopItem"] = c.PopItem(ctx)
	_, out["Remove"] = c.Remove(ctx, backend.RemoveRequest{Names: []string{"b"}})
	_, out["Verify with repair"] = c.Verify(ctx, backend.VerifyQuery{Repair: true})
	return out
}

func TestClientAddresses(t *testing.T) {
	for addr, want := range map[string]string{
		"": "http://127.0.0.1:8500", "host:1": "http://host:1", "http://host:1/": "http://host:1", "https://host": "https://host", "[::1]:8500": "http://[::1]:8500",
	} {
		c, err := NewClient(ClientConfig{Addr: addr})
		require.NoError(t, err, addr)
		require.Equal(t, want, c.Addr())
		require.NoError(t, c.Close())
	}
	for _, addr := range []string{"http://", "ftp://host:1", "host:port", "http://host/v1", "http://host?x", "http://user@host", ":8500", "a b"} {
		_, err := NewClient(ClientConfig{Addr: addr})
		require.ErrorIs(t, err, backend.ErrInvalid, addr)
		require.ErrorContains(t, err, "CHORD_HTTP_ADDR")
		require.ErrorContains(t, err, addr)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	c, err := NewClient(ClientConfig{Addr: addr})
	require.NoError(t, err)
	defer c.Close()
	for _, errs := range []map[string]error{reads(t.Context(), c), changes(t.Context(), c)} {
		for name, err := range errs {
			require.ErrorIs(t, err, backend.ErrNotReady, name)
			require.ErrorContains(t, err, "no agent answers at "+addr)
			require.ErrorContains(t, err, "-http-addr or CHORD_HTTP_ADDR")
			require.ErrorContains(t, err, "refused")
		}
	}
	require.Equal(t, DefaultMaxValueSize, c.Limits().MaxValueSize, "a guess")
}

// TestTxnWhileNobodyListens is NotReady like all else: the agent alone knows its limits.
func TestTxnWhileNobodyListens(t *testing.T) {
	n := serve(t, nil)
	c := n.client()
	n.Close()
	large := []backend.TxnOp{{Verb: backend.VerbSet, Key: "k", Value: make([]byte, DefaultMaxValueSize+1)}}
	_, err := c.Txn(t.Context(), large)
	require.ErrorIs(t, err, backend.ErrNotReady)
	_, err = c.Txn(t.Context(), []backend.TxnOp{{Verb: backend.VerbSet, Key: "\xff"}})
	require.ErrorIs(t, err, backend.ErrInvalid, "JSON can not carry it")
}

// TestLimitsOfAnotherAgent: what an agent said of itself is asked again once it has
// refused something, or there is a new connection, perhaps to the next one.
func TestLimitsOfAnotherAgent(t *testing.T) {
	n := serve(t, nil)
	c := n.client()
	n.handler.cfg.MaxValueSize = 3
	require.Equal(t, 3, c.Limits().MaxValueSize)
	n.handler.cfg.MaxValueSize = 2
	require.Equal(t, 3, c.Limits().MaxValueSize, "it is not asked each time")
	for _, refused := range []func() error{
		func() error { _, err := c.Put(t.Context(), "k", []byte("v.."), backend.PutOptions{}); return err },
		func() error {
			_, err := c.Txn(t.Context(), []backend.TxnOp{{Verb: backend.VerbSet, Key: "k", Value: []byte("v...")}})
			return err
		},
	} {
		require.ErrorIs(t, refused(), backend.ErrTooLarge)
		require.Equal(t, n.handler.cfg.MaxValueSize, c.Limits().MaxValueSize)
		n.handler.cfg.MaxValueSize++
	}
	c.http.CloseIdleConnections()
	_, err := c.Get(t.Context(), "k", backend.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, 4, c.Limits().MaxValueSize)
}

func TestConnectionBreaksBeforeTheAnswer(t *testing.T) {
	c := stranger(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for name, err := range reads(t.Context(), c) {
		require.ErrorIs(t, err, backend.ErrNotReady, name)
	}
	for name, err := range changes(t.Context(), c) {
		require.ErrorIs(t, err, backend.ErrUnknownOutcome, name)
		require.ErrorContains(t, err, "broke before it answered")
	}
}

func TestConnectionBreaksWithinTheAnswer(t *testing.T) {
	c := stranger(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "[")
	})
	for name, err := range reads(t.Context(), c) {
		require.ErrorIs(t, err, backend.ErrNotReady, name)
	}
	for name, err := range changes(t.Context(), c) {
		require.ErrorIs(t, err, backend.ErrUnknownOutcome, name)
	}
}

// TestAgentRestarts uses a connection that the agent closed meanwhile: a change
// that was not written is not in doubt.
func TestAgentRestarts(t *testing.T) {
	n := serve(t, nil)
	c := n.client()
	_, err := c.Put(t.Context(), "k", []byte("v"), backend.PutOptions{})
	require.NoError(t, err)
	n.Close()
	// The client notices the closed connection in its own time: a change may
	// still be written to it, and is in doubt then, but not for ever.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, err := c.Put(ctx, "k", []byte("v"), backend.PutOptions{})
		if backend.CodeOf(err) == backend.NotReady {
			return
		}
		require.ErrorIs(t, err, backend.ErrUnknownOutcome)
		require.NoError(t, ctx.Err())
	}
}

func TestDeadlineWhileTheAgentIsFrozen(t *testing.T) {
	release := make(chan struct{})
	c := stranger(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Put(ctx, "k", nil, backend.PutOptions{})
	require.ErrorIs(t, err, backend.ErrUnknownOutcome)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = c.Get(ctx, "k", backend.GetOptions{})
	require.ErrorIs(t, err, backend.ErrNoQuorum)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// TestTypedErrorArrivesBeforeTheDeadline needs the agent to give up first.
func TestTypedErrorArrivesBeforeTheDeadline(t *testing.T) {
	s := &scripted{put: func(ctx context.Context, key string) (uint64, error) {
		<-ctx.Done()
		return 0, &backend.Error{Code: backend.NoQuorum, Key: key, Message: "too few", Answered: 2, Owners: 5}
	}}
	n := serve(t, func(cfg *Config) { cfg.Backend = s })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := n.client().Put(ctx, "k", nil, backend.PutOptions{})
	require.NoError(t, ctx.Err())
	require.Equal(t, &backend.Error{Code: backend.NoQuorum, Key: "k", Message: "too few", Answered: 2, Owners: 5}, err)
}

// TestCallsOutlastTheAgentsTimeout waits longer than the agent may, again and
// again, as a call without a deadline must.
func TestCallsOutlastTheAgentsTimeout(t *testing.T) {
	var calls atomic.Int32
	s := &scripted{get: func(ctx context.Context, key string) (*backend.Entry, error) {
		if calls.Add(1) == 4 {
			return &backend.Entry{Key: key, Value: []byte("v")}, nil
		}
		<-ctx.Done()
		return nil, backend.Errorf(backend.NoQuorum, key, "too few")
	}}
	n := serve(t, func(cfg *Config) { cfg.Backend, cfg.MaxTimeout = s, 5*time.Millisecond })
	e, err := n.client().Get(context.Background(), "k", backend.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "v", string(e.Value))
	require.EqualValues(t, 4, calls.Load())
}

func TestCloseEndsWaitingCalls(t *testing.T) {
	began := make(chan struct{}, 2)
	wait := func(ctx context.Context) error {
		began <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	s := &scripted{
		get: func(ctx context.Context, _ string) (*backend.Entry, error) { return nil, wait(ctx) },
		put: func(ctx context.Context, _ string) (uint64, error) { return 0, wait(ctx) },
	}
	n := serve(t, func(cfg *Config) { cfg.Backend = s })
	c := n.client()
	failed := make(chan error, 2)
	go func() { _, err := c.Get(t.Context(), "k", backend.GetOptions{}); failed <- err }()
	go func() { _, err := c.Put(t.Context(), "k", nil, backend.PutOptions{}); failed <- err }()
	<-began
	<-began
	require.NoError(t, c.Close())
	require.ErrorIs(t, <-failed, backend.ErrClosed)
	require.ErrorIs(t, <-failed, backend.ErrClosed)
	require.Equal(t, DefaultMaxValueSize, c.Limits().MaxValueSize)
}

// TestAnswersOfStrangers: what is not ours is an error that says so, never "no
// such key" and never a success.
func TestAnswersOfStrangers(t *testing.T) {
	for _, tc := range []struct {
		name          string
		status        int
		body          string
		read, changed backend.Code
	}{
		{"another server's 404", 404, "<html>not here</html>", backend.Internal, backend.Internal},
		{"a page", 200, "<html>welcome</html>", backend.Internal, backend.UnknownOutcome},
		{"a redirect", 302, "", backend.Internal, backend.Internal},
		{"a plain 400", 400, "bad", backend.Invalid, backend.Invalid},
		{"a plain 401", 401, "who", backend.Unauthorized, backend.Unauthorized},
		{"a plain 403", 403, "no", backend.Unauthorized, backend.Unauthorized},
		{"a plain 414", 414, "long", backend.TooLarge, backend.TooLarge},
		{"a proxy's 502", 502, "bad gateway", backend.NotReady, backend.UnknownOutcome},
		{"a plain 500", 500, "oops", backend.NotReady, backend.UnknownOutcome},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := stranger(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			for name, err := range reads(t.Context(), c) {
				require.Equal(t, tc.read, backend.CodeOf(err), "%s: %v", name, err)
			}
			for name, err := range changes(t.Context(), c) {
				require.Equal(t, tc.changed, backend.CodeOf(err), "%s: %v", name, err)
			}
		})
	}
}

// TestConsulIsNoAgentOfOurs: its answers lack what ours have.
func TestConsulIsNoAgentOfOurs(t *testing.T) {
	c := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v1/agent"):
			_, _ = io.WriteString(w, `{"Config":{"NodeName":"consul"}}`)
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, `[]`)
		case r.URL.Query().Has("cas"):
			_, _ = io.WriteString(w, "false")
		default:
			_, _ = io.WriteString(w, "true")
		}
	})
	_, err := c.Put(t.Context(), "k", nil, backend.PutOptions{})
	require.ErrorIs(t, err, backend.ErrInternal)
	require.ErrorContains(t, err, "is no chord-plugin agent")
	_, err = c.Put(t.Context(), "k", nil, backend.PutOptions{If: backend.IfAbsent()})
	require.ErrorIs(t, err, backend.ErrConflict)
	_, err = c.Get(t.Context(), "k", backend.GetOptions{})
	require.ErrorIs(t, err, backend.ErrInternal)
	_, err = c.Status(t.Context())
	require.ErrorContains(t, err, "is no chord-plugin agent")
}

// roundTrip is a transport that says nothing about connections.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTransportThatDoesNotTellWhatItSent(t *testing.T) {
	c, err := NewClient(ClientConfig{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })})
	require.NoError(t, err)
	defer c.Close()
	for name, err := range changes(t.Context(), c) {
		require.ErrorIs(t, err, backend.ErrUnknownOutcome, name)
	}
}

// TestDeadlineBeforeAConnection: what never had a connection changed nothing.
func TestDeadlineBeforeAConnection(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		cancel()
		<-release
		return nil, io.ErrUnexpectedEOF
	}}
	c, err := NewClient(ClientConfig{Transport: transport})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Put(ctx, "k", nil, backend.PutOptions{})
	require.ErrorIs(t, err, backend.ErrNoQuorum)
	require.ErrorIs(t, err, context.Canceled)
}

func TestResponseOverTheClientsLimit(t *testing.T) {
	c := serve(t, nil).client()
	_, err := c.Put(t.Context(), "k", make([]byte, 1000), backend.PutOptions{})
	require.NoError(t, err)
	c.maxResponse = 1000
	_, err = c.Get(t.Context(), "k", backend.GetOptions{})
	require.ErrorIs(t, err, backend.ErrTooLarge)
	_, err = c.Pop(t.Context(), "k")
	require.ErrorIs(t, err, backend.ErrUnknownOutcome)
}

// TestValuesAreTheCallers changes the slice as soon as Put has returned.
func TestValuesAreTheCallers(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	n := serve(t, func(cfg *Config) { cfg.Backend = store })
	c := n.client()
	value := bytes.Repeat([]byte("x"), 2*expectSize)
	_, err := c.Put(t.Context(), "k", value, backend.PutOptions{Flags: 7})
	require.NoError(t, err)
	clear(value)
	e, err := c.Get(t.Context(), "k", backend.GetOptions{Stale: true})
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("x", 2*expectSize), string(e.Value))
	require.EqualValues(t, 7, e.Flags)
}

func TestListThatCutsACharacter(t *testing.T) {
	c := serve(t, nil).client()
	for _, key := range []string{"aé", "b"} {
		_, err := c.Put(t.Context(), key, nil, backend.PutOptions{})
		require.NoError(t, err)
	}
	page, err := c.List(t.Context(), backend.ListQuery{Separator: "\xc3", Values: true})
	require.NoError(t, err)
	require.Equal(t, []string{"a\xc3", "b"}, page.Names())
	require.True(t, page.Items[0].Folded)
	require.Nil(t, page.Items[0].Entry)
	require.Equal(t, []byte{}, page.Items[1].Entry.Value)
}

package plugin

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// dial serves s over a connection in memory, as another program's host sees it.
func dial(t *testing.T, s proto.BackendServer) proto.BackendClient {
	t.Helper()
	return proto.NewBackendClient(dialServer(t, func(server *grpc.Server) { proto.RegisterBackendServer(server, s) }))
}

// dialServer connects, in memory, to a server with the services that register adds.
func dialServer(t *testing.T, register func(*grpc.Server)) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(serverOptions()...)
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///memory", append(dialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		server.Stop()
		require.NoError(t, <-served)
	})
	return conn
}

func openMemory(context.Context, map[string]string) (backend.Backend, backend.Admin, error) {
	return memory.New(backend.DefaultLimits()), nil, nil
}

// codeOf returns the code that the status of a failed call carries, 0 for none.
func codeOf(err error) backend.Code {
	if e := decodeError(status.Convert(err)); e != nil {
		return e.Code
	}
	return 0
}

// A plugin is fresh, then being configured, then serving, then closed, and says
// so.
func TestLifeOfAService(t *testing.T) {
	began, goOn := make(chan map[string]string), make(chan error)
	rpc := dial(t, newService(func(ctx context.Context, config map[string]string) (backend.Backend, backend.Admin, error) {
		began <- config
		if err := <-goOn; err != nil {
			return nil, nil, err
		}
		return openMemory(ctx, config)
	}, "1"))
	ctx := t.Context()
	get := func() backend.Code {
		_, err := rpc.Get(ctx, &proto.GetRequest{Key: []byte("k")})
		if err == nil {
			return 0
		}
		return codeOf(err)
	}
	ready := func() bool {
		info, err := rpc.Info(ctx, &proto.InfoRequest{})
		require.NoError(t, err)
		return info.GetReady()
	}
	configured := make(chan error)
	configure := func() {
		_, err := rpc.Configure(ctx, &proto.ConfigureRequest{Config: map[string]string{"a": "b"}})
		configured <- err
	}

	require.Equal(t, backend.NotReady, get())
	require.False(t, ready())

	go configure()
	require.Equal(t, map[string]string{"a": "b"}, <-began)
	require.Equal(t, backend.NotReady, get())
	_, err := rpc.Configure(ctx, &proto.ConfigureRequest{})
	require.Equal(t, backend.Invalid, codeOf(err), "a second Configure during the first")
	goOn <- errors.New("disk")
	require.Equal(t, backend.Internal, codeOf(<-configured))
	require.Equal(t, backend.NotReady, get())

	go configure()
	<-began
	goOn <- nil
	require.NoError(t, <-configured)
	require.Zero(t, get())
	require.True(t, ready())
	_, err = rpc.Configure(ctx, &proto.ConfigureRequest{})
	require.Equal(t, backend.Invalid, codeOf(err), "a second Configure")

	for range 2 {
		_, err = rpc.Close(ctx, &proto.CloseRequest{})
		require.NoError(t, err)
		require.Equal(t, backend.Closed, get())
		require.False(t, ready())
		_, err = rpc.Configure(ctx, &proto.ConfigureRequest{})
		require.Equal(t, backend.Closed, codeOf(err))
	}
}

// Close ends an opening that is under way.
func TestCloseDuringConfigure(t *testing.T) {
	began := make(chan struct{})
	rpc := dial(t, newService(func(ctx context.Context, _ map[string]string) (backend.Backend, backend.Admin, error) {
		close(began)
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}, "1"))
	configured := make(chan error, 1)
	go func() {
		_, err := rpc.Configure(t.Context(), &proto.ConfigureRequest{})
		configured <- err
	}()
	<-began
	_, err := rpc.Close(t.Context(), &proto.CloseRequest{})
	require.NoError(t, err)
	require.Equal(t, backend.Closed, codeOf(<-configured))
}

// A backend that opened although Close came first is closed.
func TestCloseBeforeConfigureReturns(t *testing.T) {
	began := make(chan struct{})
	store := memory.New(backend.DefaultLimits())
	rpc := dial(t, newService(func(ctx context.Context, _ map[string]string) (backend.Backend, backend.Admin, error) {
		close(began)
		<-ctx.Done()
		return store, nil, nil
	}, "1"))
	configured := make(chan error, 1)
	go func() {
		_, err := rpc.Configure(t.Context(), &proto.ConfigureRequest{})
		configured <- err
	}()
	<-began
	_, err := rpc.Close(t.Context(), &proto.CloseRequest{})
	require.NoError(t, err)
	require.Equal(t, backend.Closed, codeOf(<-configured))
	_, err = store.Get(t.Context(), "k", backend.GetOptions{})
	require.ErrorIs(t, err, backend.ErrClosed)
}

func TestOpenReturnsNothing(t *testing.T) {
	rpc := dial(t, newService(func(context.Context, map[string]string) (backend.Backend, backend.Admin, error) { return nil, nil, nil }, "1"))
	_, err := rpc.Configure(t.Context(), &proto.ConfigureRequest{})
	require.Equal(t, backend.Internal, codeOf(err))
}

// A host that is another program may leave the time out; it may not send nonsense.
func TestTimeoutMetadata(t *testing.T) {
	rpc := dial(t, newService(openMemory, "1"))
	_, err := rpc.Configure(t.Context(), &proto.ConfigureRequest{})
	require.NoError(t, err)
	for value, want := range map[string]backend.Code{
		"60000000": 0, "9223372036854775807": 0,
		"0": backend.Invalid, "-1": backend.Invalid, "soon": backend.Invalid, "": backend.Invalid, "9223372036854775808": backend.Invalid,
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), timeoutKey, value)
		_, err := rpc.Get(ctx, &proto.GetRequest{Key: []byte("k")})
		require.Equal(t, want == 0, err == nil, "%q: %v", value, err)
		if err != nil {
			require.Equal(t, want, codeOf(err), value)
		}
	}
}

// The call over gRPC carries the time that is left, and ends with a cancellation at
// once.
func TestOutgoing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	call, end := outgoing(ctx)
	defer end()
	md, _ := metadata.FromOutgoingContext(call)
	require.Len(t, md.Get(timeoutKey), 1)
	require.Len(t, md.Get(timeoutKey)[0], len("3599999999"))
	_, ok := call.Deadline()
	require.False(t, ok, "gRPC would send a deadline of its own")
	cancel()
	<-call.Done()
	require.ErrorIs(t, call.Err(), context.Canceled)

	call, end = outgoing(t.Context())
	_, ok = metadata.FromOutgoingContext(call)
	require.False(t, ok)
	end()
	require.ErrorIs(t, call.Err(), context.Canceled)
}

// The call over gRPC outlives the deadline by the grace, and no longer.
func TestOutgoingEndsAfterTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const left = time.Minute
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), left)
		defer cancel()
		call, end := outgoing(ctx)
		defer end()
		<-ctx.Done()
		require.NoError(t, call.Err())
		<-call.Done()
		require.Equal(t, left+answerGrace, time.Since(begun))
	})
}

// A deadline has passed when the clock says so, also before its timer has run.
func TestOver(t *testing.T) {
	require.NoError(t, over(t.Context()))
	for _, test := range []struct {
		deadline time.Duration
		want     error
	}{{time.Hour, nil}, {-time.Nanosecond, context.DeadlineExceeded}} {
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(test.deadline))
		require.Equal(t, test.want, over(lateTimer{ctx}))
		cancel()
		require.Equal(t, ctx.Err(), over(ctx))
	}
}

// lateTimer is a context whose timer has not run.
type lateTimer struct{ context.Context }

func (lateTimer) Err() error { return nil }

// A listing that lacks its end, or goes on after it, is no listing.
func TestListingCutShort(t *testing.T) {
	for name, chunks := range map[string][]*proto.ListChunk{
		"ended before its last chunk":   {{}},
		"went on after its last chunk":  {{Last: true}, {}},
		"went on after its last chunk ": {{Last: true}, {Last: true}},
	} {
		c := &Client{rpc: dial(t, &listing{chunks: chunks})}
		_, err := c.List(t.Context(), backend.ListQuery{})
		require.ErrorIs(t, err, backend.ErrInternal)
		require.ErrorContains(t, err, strings.TrimSpace(name))
	}
}

// A plugin that is older than the host lacks calls, and the error says so.
func TestOlderPlugin(t *testing.T) {
	c := &Client{rpc: dial(t, &listing{})}
	_, err := c.Put(t.Context(), "k", nil, backend.PutOptions{})
	require.Equal(t, backend.Invalid, backend.CodeOf(err))
	require.ErrorContains(t, err, "older than this host")
	_, err = c.Remove(t.Context(), backend.RemoveRequest{Names: []string{"b"}})
	for call, err := range map[string]error{"Remove": err, "Leave": c.Leave(t.Context())} {
		require.Equal(t, backend.Invalid, backend.CodeOf(err), call)
		require.ErrorContains(t, err, "older than this host")
	}
}

// A host waits for a plugin as long as that says, within reason.
func TestPatience(t *testing.T) {
	for ms, want := range map[uint64]time.Duration{
		0: 6 * time.Second, 1: 6 * time.Second, 5000: 6 * time.Second, 610_000: 611 * time.Second, 1<<64 - 1: time.Hour + time.Second,
	} {
		require.Equal(t, want, patience(ms), "%d", ms)
	}
	require.EqualValues(t, 5000, closeTimeoutOf(memory.New(backend.DefaultLimits())))
}

// listing is a plugin that lists what it is told.
type listing struct {
	proto.UnimplementedBackendServer
	chunks []*proto.ListChunk
}

func (l *listing) List(_ *proto.ListRequest, stream grpc.ServerStreamingServer[proto.ListChunk]) error {
	for _, c := range l.chunks {
		if err := stream.Send(c); err != nil {
			return err
		}
	}
	return nil
}

package mesh

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// blocker registers typeBlock: it tells when it runs, and ends with its context.
func blocker(started chan<- context.Context, ended chan<- error) func(*Mesh) {
	return func(m *Mesh) {
		m.HandleCall(typeBlock, func(ctx context.Context, _ ring.Node, _ Decoder) (any, error) {
			started <- ctx
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		})
	}
}

func (m *Mesh) idle() bool {
	m.pending.mu.Lock()
	defer m.pending.mu.Unlock()
	m.serving.mu.Lock()
	defer m.serving.mu.Unlock()
	return len(m.pending.m) == 0 && len(m.serving.running) == 0
}

func TestDeadlineTravels(t *testing.T) {
	started, ended := make(chan context.Context, 1), make(chan error, 1)
	a, b := pair(t, testConfig("a"), testConfig("b"), blocker(started, ended))
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	called := make(chan error, 1)
	go func() { called <- a.Call(ctx, b.node, typeBlock, nil, nil) }()
	remote, ok := (<-started).Deadline()
	require.True(t, ok)
	local, _ := ctx.Deadline()
	require.InDelta(t, 0, remote.Sub(local), float64(100*time.Millisecond))
	require.ErrorIs(t, <-called, context.DeadlineExceeded)
	<-ended
	eventually(t, func() bool { return a.idle() && b.idle() }, "no state is left")
	require.ErrorIs(t, a.Call(ctx, b.node, typeBlock, nil, nil), context.DeadlineExceeded, "too late to be sent")
	require.Empty(t, started)
}

func TestCancelFreesBothEnds(t *testing.T) {
	started, ended := make(chan context.Context, 1), make(chan error, 1)
	a, b := pair(t, testConfig("a"), testConfig("b"), blocker(started, ended))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	called := make(chan error, 1)
	go func() { called <- a.Call(ctx, b.node, typeBlock, nil, nil) }()
	<-started
	cancel()
	require.ErrorIs(t, <-called, context.Canceled)
	require.ErrorIs(t, <-ended, context.Canceled, "the handler's context ends at once")
	eventually(t, func() bool { return a.idle() && b.idle() }, "no state is left")
	// Its answer came too late for anybody; it is counted, and harms nothing.
	eventually(t, func() bool { return a.Stats().LateResponses == 1 }, "a late response")
}

func TestConnectionLostEndsCalls(t *testing.T) {
	started, ended := make(chan context.Context, 1), make(chan error, 1)
	a, b := pair(t, testConfig("a"), testConfig("b"), blocker(started, ended))
	called := make(chan error, 1)
	go func() { called <- a.Call(withTimeout(t, time.Hour), b.node, typeBlock, nil, nil) }()
	<-started
	a.RoutingTable()[b.cfg.ID].close(errors.New("pulled"))
	require.ErrorIs(t, <-called, ErrConnLost)
	require.ErrorIs(t, <-ended, context.Canceled)
	eventually(t, func() bool { return a.idle() && b.idle() }, "no state is left")
}

func TestCloseEndsCalls(t *testing.T) {
	started, ended := make(chan context.Context, 1), make(chan error, 1)
	a, b := pair(t, testConfig("a"), testConfig("b"), blocker(started, ended))
	called := make(chan error, 1)
	go func() { called <- a.Call(withTimeout(t, time.Hour), b.node, typeBlock, nil, nil) }()
	<-started
	require.NoError(t, b.Close())
	require.Error(t, <-called)
	<-ended
}

func TestHandlerLimit(t *testing.T) {
	started, ended := make(chan context.Context, 10000), make(chan error, 10000)
	cb := testConfig("b")
	cb.MaxHandlers = 2
	a, b := pair(t, testConfig("a"), cb, blocker(started, ended))
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	called := make(chan error, 2)
	for range 2 {
		go func() { called <- a.Call(ctx, b.node, typeBlock, nil, nil) }()
		<-started
	}
	require.ErrorIs(t, a.Call(ctx, b.node, typeBlock, nil, nil), ErrBusy)
	require.Equal(t, uint64(1), b.Stats().Busy)
	cancel()
	<-called
	<-called
	eventually(t, b.idle, "both have ended")
	// A worker that became idle takes the next call.
	eventually(t, func() bool {
		short, stop := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer stop()
		return errors.Is(a.Call(short, b.node, typeBlock, nil, nil), context.DeadlineExceeded)
	}, "calls run again")
}

func TestPendingLimit(t *testing.T) {
	p := pendingCalls{m: map[uint64]*call{}}
	for range maxPendingCalls {
		_, err := p.add(&call{})
		require.NoError(t, err)
	}
	_, err := p.add(&call{})
	require.ErrorIs(t, err, ErrQueueFull)
	require.True(t, p.remove(1))
	require.False(t, p.remove(1))
	_, err = p.add(&call{})
	require.NoError(t, err)
}

// unpackable is a value that cannot be encoded.
type unpackable struct{}

func (unpackable) MarshalBinary() ([]byte, error)  { return nil, errors.New("cannot be") }
func (*unpackable) UnmarshalBinary(_ []byte) error { return errors.New("cannot be") }

// TestResponseTooLarge: the caller is told, and the connection stays.
func TestResponseTooLarge(t *testing.T) {
	cb := testConfig("b")
	cb.MaxFrame, cb.MaxQueueBytes = 1<<20, 4<<20
	a, b := pair(t, testConfig("a"), cb, func(m *Mesh) {
		m.HandleCall(1, func(context.Context, ring.Node, Decoder) (any, error) { return make([]byte, 2<<20), nil })
		m.HandleCall(2, func(context.Context, ring.Node, Decoder) (any, error) {
			return nil, &RemoteError{Code: 5, Message: string(make([]byte, 2<<20))}
		})
		m.HandleCall(3, func(context.Context, ring.Node, Decoder) (any, error) { return unpackable{}, nil })
	})
	ctx := withTimeout(t, time.Minute)
	require.ErrorIs(t, a.Call(ctx, b.node, 1, nil, nil), &RemoteError{Code: CodeTooLarge})
	require.ErrorIs(t, a.Call(ctx, b.node, 2, nil, nil), &RemoteError{Code: 5})
	require.ErrorIs(t, a.Call(ctx, b.node, 3, nil, nil), &RemoteError{Code: CodeFailed})
	require.Error(t, a.Call(ctx, b.node, 3, unpackable{}, nil), "a request that cannot be encoded")
	require.True(t, a.Connected(b.node))
}

// TestForeignResponse: a response from another node than the one asked is ignored.
func TestForeignResponse(t *testing.T) {
	started, ended := make(chan context.Context, 1), make(chan error, 1)
	a, b := pair(t, testConfig("a"), testConfig("b"), blocker(started, ended))
	p := rawPeer("p")
	nc, _, refused := rawDial(t, a, p, 1, 1)
	require.Nil(t, refused)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	called := make(chan error, 1)
	go func() { called <- a.Call(ctx, b.node, typeBlock, nil, nil) }()
	<-started
	a.pending.mu.Lock()
	id := a.pending.next
	a.pending.mu.Unlock()
	forged := outgoing{kind: kindResponse, request: id, body: []byte{0xc0}}
	_, err := nc.Write(forged.append(nil))
	require.NoError(t, err)
	eventually(t, func() bool { return a.Stats().LateResponses == 1 }, "it is dropped")
	require.Empty(t, called)
	cancel()
	require.ErrorIs(t, <-called, context.Canceled)
	<-ended
}

func TestHandlersAreRegisteredOnceAndBefore(t *testing.T) {
	m := newMesh(t, testConfig("m"), echo)
	require.Panics(t, func() { echo(m) })
	require.Panics(t, func() { m.HandleSend(9, func(ring.Node, []byte) {}) })
}

package plugin

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// What a plugin announces is what its client can do: no more, and no bit of a
// version that is not known yet.
func TestCapabilitiesOf(t *testing.T) {
	for _, test := range []struct {
		contract backend.Capability
		names    []string
		want     backend.Capability
	}{
		{0, nil, 0},
		{0, []string{"admin", "watch", "new"}, backend.CanWatch}, // older than the numbers
		{1<<32 - 1, nil, backend.AllCapabilities},
		{1 << 31, nil, 0},
		{backend.CanLock, nil, 0},
		{backend.CanTransact | backend.CanKeepSessions, nil, backend.CanTransact | backend.CanKeepSessions},
		{backend.CanTransact | backend.CanKeepSessions, []string{"watch"}, lockable | backend.CanLock},
		{backend.CanExpire | backend.CanFence, nil, backend.CanExpire | backend.CanFence},
	} {
		require.Equal(t, test.want, capabilitiesOf(&proto.InfoReply{Contract: uint32(test.contract), Capabilities: test.names}))
	}
}

// limited is a store of which only can is said.
type limited struct {
	*memory.Store
	can backend.Capability
}

func (l limited) Capabilities() backend.Capability { return l.can }

// What the plugin's backend lacks is neither claimed nor done, on either side.
func TestLacks(t *testing.T) {
	for bit := backend.Capability(1); bit&backend.AllCapabilities != 0; bit <<= 1 {
		can := backend.AllCapabilities &^ bit
		c, rpc := connect(t, limited{memory.New(backend.DefaultLimits()), can}, nil)
		if lockable.Has(bit) {
			can &^= backend.CanLock
		}
		if bit == backend.CanLock {
			can |= bit // made of the others
		}
		require.Equal(t, can, backend.CapabilitiesOf(c), bit)
		for what, calls := range callsOf(t, c, rpc) {
			for name, err := range calls {
				if can.Has(what) {
					require.NotContains(t, err.Error(), "does not have", name)
					continue
				}
				if decoded := codeOf(err); decoded != 0 {
					require.Equal(t, backend.Invalid, decoded, name)
				} else {
					require.Equal(t, backend.Invalid, backend.CodeOf(err), name)
				}
				require.ErrorContains(t, err, "this plugin does not have: ", name)
				require.ErrorContains(t, err, what.String(), name)
			}
		}
	}
}

// callsOf returns the errors of calls that need one capability. Those of rpc pass
// by what the client knows.
func callsOf(t *testing.T, c *Client, rpc proto.BackendClient) map[backend.Capability]map[string]error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // What gets as far as the plugin fails for this.
	live := t.Context()
	fence := backend.Fence{Key: "l", Token: 1}
	op := backend.TxnOp{Verb: backend.VerbSet, Key: "k"}
	ops := func(change func(*backend.TxnOp)) []backend.TxnOp {
		changed := op
		change(&changed)
		return []backend.TxnOp{op, changed}
	}
	errs := map[backend.Capability]map[string]error{}
	add := func(what backend.Capability, name string, err error) {
		t.Helper()
		require.Error(t, err, name)
		if errs[what] == nil {
			errs[what] = map[string]error{}
		}
		errs[what][name] = err
	}
	_, err := c.Txn(ctx, []backend.TxnOp{op})
	add(backend.CanTransact, "Txn", err)
	_, err = c.Begin(ctx, backend.TxOptions{})
	add(backend.CanTransact, "Begin", err)
	add(backend.CanTransact, "Update", backend.Update(ctx, c, map[string][]byte{"k": nil}))
	stream, err := rpc.Txn(live)
	require.NoError(t, err)
	if err = stream.Send(&proto.TxnOp{Verb: []byte("explode")}); err != io.EOF { // refused already
		require.NoError(t, err)
	}
	err = stream.CloseSend()
	for err == nil {
		_, err = stream.Recv()
	}
	add(backend.CanTransact, "rpc Txn", err)

	_, err = c.Watch(ctx, backend.WatchQuery{Key: "k"})
	add(backend.CanWatch, "Watch", err)
	_, err = rpc.Watch(live, &proto.WatchRequest{Key: []byte("/")})
	add(backend.CanWatch, "rpc Watch", err)

	_, err = c.CreateSession(ctx, backend.SessionOptions{})
	add(backend.CanKeepSessions, "CreateSession", err)
	_, err = c.RenewSession(ctx, "id")
	add(backend.CanKeepSessions, "RenewSession", err)
	add(backend.CanKeepSessions, "DestroySession", c.DestroySession(ctx, "id"))
	_, err = c.Session(ctx, "id")
	add(backend.CanKeepSessions, "Session", err)
	_, err = c.Sessions(ctx)
	add(backend.CanKeepSessions, "Sessions", err)
	_, err = rpc.CreateSession(live, &proto.CreateSessionRequest{TtlNs: 1})
	add(backend.CanKeepSessions, "rpc CreateSession", err)
	_, err = rpc.Session(live, &proto.SessionRequest{})
	add(backend.CanKeepSessions, "rpc Session", err)

	add(backend.CanFence, "Fence", c.Fence(ctx, fence))
	_, err = c.Put(ctx, "k", nil, backend.PutOptions{Fence: fence})
	add(backend.CanFence, "Put", err)
	add(backend.CanFence, "Delete", c.Delete(ctx, "k", backend.DeleteOptions{Fence: fence}))
	_, err = rpc.Fence(live, &proto.FenceRequest{Fence: fenceToProto(fence)})
	add(backend.CanFence, "rpc Fence", err)
	_, err = c.Put(ctx, "k", nil, backend.PutOptions{ExpiresAfter: time.Hour})
	add(backend.CanExpire, "Put", err)
	if c.Capabilities().Has(backend.CanTransact) {
		_, err = c.Txn(ctx, ops(func(op *backend.TxnOp) { op.Fence = fence }))
		add(backend.CanFence, "Txn", err)
		_, err = c.Txn(ctx, ops(func(op *backend.TxnOp) { op.ExpiresAfter = time.Hour }))
		add(backend.CanExpire, "Txn", err)
		tx, err := c.Begin(live, backend.TxOptions{})
		require.NoError(t, err)
		add(backend.CanFence, "Tx.Put", tx.Put(ctx, "k", nil, backend.PutOptions{Fence: fence}))
		add(backend.CanFence, "Tx.Delete", tx.Delete(ctx, "k", backend.DeleteOptions{Fence: fence}))
		add(backend.CanExpire, "Tx.Put", tx.Put(ctx, "k", nil, backend.PutOptions{ExpiresAfter: time.Hour}))
		require.NoError(t, tx.Rollback(live))
	}
	return errs
}

// A plugin of which nothing but the old calls is known gets no other.
func TestOlderPluginLacks(t *testing.T) {
	c := &Client{rpc: dial(t, &older{})}
	require.NoError(t, c.configure(t.Context(), nil))
	require.Equal(t, backend.CanWatch, c.Capabilities())
	_, err := c.Put(t.Context(), "k", nil, backend.PutOptions{})
	require.NoError(t, err)
	_, err = c.Put(t.Context(), "k", nil, backend.PutOptions{ExpiresAfter: time.Hour})
	require.ErrorIs(t, err, backend.ErrInvalid)
	_, err = c.Put(t.Context(), "k", nil, backend.PutOptions{Fence: backend.Fence{Key: "l", Token: 1}})
	require.ErrorIs(t, err, backend.ErrInvalid)
	_, err = c.Begin(t.Context(), backend.TxOptions{})
	require.ErrorIs(t, err, backend.ErrInvalid)
	_, err = c.Lock(t.Context(), backend.LockOptions{Key: "k"})
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "locks")
}

// older is a plugin from before transactions: it does not notice fields that it
// does not know.
type older struct {
	proto.UnimplementedBackendServer
}

func (*older) Configure(context.Context, *proto.ConfigureRequest) (*proto.ConfigureReply, error) {
	limits := limitsToProto(backend.DefaultLimits())
	return &proto.ConfigureReply{Limits: limits, Info: &proto.InfoReply{Protocol: 1, Capabilities: []string{"watch"}, Ready: true}}, nil
}

func (*older) Put(context.Context, *proto.PutRequest) (*proto.PutReply, error) {
	return &proto.PutReply{Index: 2}, nil
}

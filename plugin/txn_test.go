package plugin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/status"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// A scripted is a memory store whose transactions do what a test says.
type scripted struct {
	*memory.Store
	txn   func(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error)
	begin func() (backend.Tx, error)
}

func (s scripted) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	return s.txn(ctx, ops)
}

func (s scripted) Begin(context.Context, backend.TxOptions) (backend.Tx, error) { return s.begin() }

// Every code of the contract survives with all that is wrong with operations, also
// where that is far more than fits a trailer.
func TestFailedOperationsRoundTrip(t *testing.T) {
	var fails *backend.Error
	c, _ := connect(t, scripted{Store: memory.New(backend.DefaultLimits()), txn: func(context.Context, []backend.TxnOp) (*backend.TxnResult, error) {
		return nil, fmt.Errorf("wrapped: %w", fails)
	}}, nil)
	var every []backend.OpError
	for code := backend.Code(1); code.Known(); code++ {
		every = append(every, backend.OpError{Op: len(every), Code: code, Key: fmt.Sprint("not \xff UTF-8 ", code), Message: "größer"})
	}
	var long []backend.OpError
	for i := range backend.MaxTxnOps {
		long = append(long, backend.OpError{Op: i, Code: backend.Conflict, Key: strings.Repeat("k", maxErrorKey), Message: strings.Repeat("m", 4*maxErrorMessage)})
	}
	for code := backend.Code(1); code.Known(); code++ {
		for _, ops := range [][]backend.OpError{nil, {{Op: backend.MaxTxnOps - 1, Code: code}}, every, long} {
			fails = &backend.Error{Code: code, Key: "a", Message: "what happened", Answered: 2, Owners: 5, Ops: ops}
			want := *fails
			want.Ops = nil
			for _, op := range ops {
				op.Message = op.Message[:min(len(op.Message), maxErrorMessage)]
				want.Ops = append(want.Ops, op)
			}
			_, err := c.Txn(t.Context(), []backend.TxnOp{{Verb: backend.VerbGet, Key: "a"}})
			require.Equal(t, &want, err)
		}
	}

	fails = backend.OpsError([]backend.OpError{{Op: 3, Code: 4000, Message: "new"}})
	_, err := c.Txn(t.Context(), []backend.TxnOp{{Verb: backend.VerbGet, Key: "a"}})
	message := "the plugin answered with code 4000, which this host does not know: new"
	require.Equal(t, &backend.Error{Code: backend.Internal, Message: message, Ops: []backend.OpError{{Op: 3, Code: backend.Internal, Message: message}}}, err)
}

// Whatever an operation, an entry, a session or a fence holds arrives.
func TestMessagesRoundTrip(t *testing.T) {
	fence := backend.Fence{Key: "lock", Token: 1<<64 - 1}
	op := backend.TxnOp{Verb: "\xff", Key: "k\xff", Value: []byte("v"), Flags: 1 << 63, Index: 2, Session: "s\xff", ExpiresAfter: -1, Fence: fence}
	require.Equal(t, op, opFromProto(opToProto(op)))
	require.Equal(t, backend.TxnOp{}, opFromProto(nil))

	put := backend.PutOptions{If: backend.IfAbsent(), Flags: 3, ExpiresAfter: 1<<63 - 1, Fence: fence}
	key, value, gotPut := putFromProto(putToProto("k", []byte("v"), put))
	require.Equal(t, []any{"k", []byte("v"), put}, []any{key, value, gotPut})
	_, _, gotPut = putFromProto(nil)
	require.Zero(t, gotPut)

	del := backend.DeleteOptions{If: backend.IfIndex(7), Fence: fence}
	key, gotDel := deleteFromProto(deleteToProto("k", del))
	require.Equal(t, []any{"k", del}, []any{key, gotDel})
	_, gotDel = deleteFromProto(nil)
	require.Zero(t, gotDel)

	e := &backend.Entry{Key: "k", Value: []byte("v"), Flags: 1, Session: "s", CreateIndex: 2, ModifyIndex: 3, LockIndex: 4, LockToken: 5, ExpiresAfter: time.Hour + 1}
	require.Equal(t, e, entryFromProto(entryToProto(e)))
	s := &backend.Session{ID: "i", Name: "n", TTL: 1, Behavior: "b", LockDelay: 2, Data: []byte("d"), CreateIndex: 3}
	require.Equal(t, s, sessionFromProto(sessionToProto(s)))
}

// A transaction of the largest size goes through, and so does an answer that is
// larger than a message.
func TestLargeTransactions(t *testing.T) {
	c, _ := connect(t, memory.New(backend.DefaultLimits()), nil)
	ctx := t.Context()
	value := bytes.Repeat([]byte("v"), backend.MaxTxnSize)
	const large = maxMessageSize/backend.MaxTxnSize + 1
	for i := range large {
		_, err := c.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbSet, Key: fmt.Sprint("large/", i), Value: value}})
		require.NoError(t, err)
	}
	r, err := c.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbGetTree, Key: "large/"}, {Verb: backend.VerbGet, Key: "large/0"}})
	require.NoError(t, err)
	require.Len(t, r.Results, large+1)
	for i, res := range r.Results {
		require.Equal(t, i/large, res.Op)
		require.True(t, bytes.Equal(value, res.Entry.Value))
	}

	part := value[:backend.MaxTxnSize/backend.MaxTxnOps]
	var ops []backend.TxnOp
	tx, err := c.Begin(ctx, backend.TxOptions{})
	require.NoError(t, err)
	for i := range backend.MaxTxnOps {
		ops = append(ops, backend.TxnOp{Verb: backend.VerbSet, Key: fmt.Sprint("one-shot/", i), Value: part})
		require.NoError(t, tx.Put(ctx, fmt.Sprint("interactive/", i), part, backend.PutOptions{}))
	}
	_, err = c.Txn(ctx, ops)
	require.NoError(t, err)
	l, err := tx.List(ctx, backend.ListQuery{Values: true})
	require.NoError(t, err)
	require.Len(t, l.Items, large+2*backend.MaxTxnOps)
	require.NoError(t, tx.Put(ctx, "interactive/0", nil, backend.PutOptions{}))
	require.NoError(t, tx.Commit(ctx))

	ops[0].Value = value[:len(part)+1]
	_, err = c.Txn(ctx, ops)
	require.Equal(t, backend.TooLarge, backend.CodeOf(err))
}

// What a host sends that is no host of ours is refused, and does no harm.
func TestMalformedRequests(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	c, rpc := connect(t, store, nil)
	ctx := t.Context()
	index, err := c.Put(ctx, "k", []byte("v"), backend.PutOptions{})
	require.NoError(t, err)

	send := func(n int, op *proto.TxnOp) error {
		stream, err := rpc.Txn(ctx)
		require.NoError(t, err)
		for range n {
			if err := stream.Send(op); err != nil {
				require.Equal(t, io.EOF, err)
				break
			}
		}
		require.NoError(t, stream.CloseSend())
		for err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	set := func(key string) *proto.TxnOp {
		return &proto.TxnOp{Verb: []byte("set"), Key: []byte(key), Value: []byte("w")}
	}
	negative := set("k")
	negative.ExpiresAfterNs = -1
	fenced := set("k")
	fenced.Fence = &proto.Fence{Key: []byte("k")}
	big := &proto.TxnOp{Verb: []byte("get"), Key: []byte("k"), Value: make([]byte, maxMessageSize-messageRoom)}
	begun, err := rpc.Begin(ctx, &proto.BeginRequest{})
	require.NoError(t, err)
	number := begun.GetTransaction()

	for name, test := range map[string]struct {
		want backend.Code
		call func() error
	}{
		"nothing":             {backend.Invalid, func() error { return send(1, &proto.TxnOp{}) }},
		"verb":                {backend.Invalid, func() error { return send(1, &proto.TxnOp{Verb: []byte("explode"), Key: []byte("k")}) }},
		"verb not UTF-8":      {backend.Invalid, func() error { return send(128, &proto.TxnOp{Verb: []byte("\xff\x00"), Key: []byte("k")}) }},
		"key":                 {backend.Invalid, func() error { return send(1, set("/k")) }},
		"lifetime":            {backend.Invalid, func() error { return send(1, negative) }},
		"fence":               {backend.Invalid, func() error { return send(1, fenced) }},
		"129 operations":      {backend.TooLarge, func() error { return send(129, set("k")) }},
		"a million":           {backend.TooLarge, func() error { return send(1_000_000, set("k")) }},
		"values nobody needs": {backend.TooLarge, func() error { return send(2, big) }},
		"no number":           {backend.Invalid, func() error { _, err := rpc.TxGet(ctx, &proto.TxGetRequest{Key: []byte("k")}); return err }},
		"a number of nobody": {backend.Invalid, func() error {
			_, err := rpc.Commit(ctx, &proto.CommitRequest{Transaction: 1<<64 - 1})
			return err
		}},
		"no put":    {backend.Invalid, func() error { _, err := rpc.TxPut(ctx, &proto.TxPutRequest{Transaction: number}); return err }},
		"no delete": {backend.Invalid, func() error { _, err := rpc.TxDelete(ctx, &proto.TxDeleteRequest{Transaction: number}); return err }},
		"a condition in a transaction": {backend.Invalid, func() error {
			_, err := rpc.TxPut(ctx, &proto.TxPutRequest{Transaction: number, Put: putToProto("k", nil, backend.PutOptions{If: backend.IfAbsent()})})
			return err
		}},
		"TTL": {backend.Invalid, func() error {
			_, err := rpc.CreateSession(ctx, &proto.CreateSessionRequest{TtlNs: -1 << 63})
			return err
		}},
		"behavior": {backend.Invalid, func() error {
			_, err := rpc.CreateSession(ctx, &proto.CreateSessionRequest{Behavior: []byte("\xff")})
			return err
		}},
		"name": {backend.Invalid, func() error {
			_, err := rpc.CreateSession(ctx, &proto.CreateSessionRequest{Name: []byte("\xff")})
			return err
		}},
		"data": {backend.TooLarge, func() error {
			_, err := rpc.CreateSession(ctx, &proto.CreateSessionRequest{Data: make([]byte, 1<<20)})
			return err
		}},
		"no ID": {backend.Invalid, func() error { _, err := rpc.RenewSession(ctx, &proto.RenewSessionRequest{}); return err }},
		"a strange": {backend.SessionInvalid, func() error {
			_, err := rpc.RenewSession(ctx, &proto.RenewSessionRequest{Id: []byte("\xff")})
			return err
		}},
		"no fence": {backend.Invalid, func() error { _, err := rpc.Fence(ctx, &proto.FenceRequest{}); return err }},
		"lifetime of a key": {backend.Invalid, func() error {
			_, err := rpc.Put(ctx, &proto.PutRequest{Key: []byte("k"), ExpiresAfterNs: 1<<63 - 1})
			return err
		}},
	} {
		err := test.call()
		require.Error(t, err, name)
		e := decodeError(status.Convert(err))
		require.NotNil(t, e, "%s: %v", name, err)
		require.Equal(t, test.want, e.Code, "%s: %v", name, err)
	}

	// A host that goes away in the middle has sent nothing.
	given, cancel := context.WithCancel(ctx)
	stream, err := rpc.Txn(given)
	require.NoError(t, err)
	require.NoError(t, stream.Send(set("k")))
	cancel()
	_, err = stream.Recv()
	require.Error(t, err)

	_, err = rpc.Commit(ctx, &proto.CommitRequest{Transaction: number})
	require.NoError(t, err)
	l, err := c.List(ctx, backend.ListQuery{Values: true})
	require.NoError(t, err)
	require.Equal(t, []string{"k"}, l.Names())
	require.Equal(t, &backend.Entry{Key: "k", Value: []byte("v"), CreateIndex: index, ModifyIndex: index}, l.Items[0].Entry)
	sessions, err := c.Sessions(ctx)
	require.NoError(t, err)
	require.Empty(t, sessions)
}

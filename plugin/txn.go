package plugin

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

func opToProto(op backend.TxnOp) *proto.TxnOp {
	return &proto.TxnOp{
		Verb: []byte(op.Verb), Key: []byte(op.Key), Value: op.Value, Flags: op.Flags, Index: op.Index,
		Session: []byte(op.Session), ExpiresAfterNs: int64(op.ExpiresAfter), Fence: fenceToProto(op.Fence),
	}
}

func opFromProto(p *proto.TxnOp) backend.TxnOp {
	return backend.TxnOp{
		Verb: backend.Verb(p.GetVerb()), Key: string(p.GetKey()), Value: p.GetValue(), Flags: p.GetFlags(), Index: p.GetIndex(),
		Session: string(p.GetSession()), ExpiresAfter: time.Duration(p.GetExpiresAfterNs()), Fence: fenceFromProto(p.GetFence()),
	}
}

// Txn carries out a transaction. Its operations come one by one, so that neither
// their number nor their size is more than what was counted here.
func (s *service) Txn(stream grpc.BidiStreamingServer[proto.TxnOp, proto.TxnChunk]) error {
	var failed []backend.OpError
	r, err := do(stream.Context(), s, writes, func(ctx context.Context, b backend.Backend) (*backend.TxnResult, error) {
		t, err := able[backend.Transactional](b, backend.CanTransact, "")
		if err != nil {
			return nil, err
		}
		ops, err := receiveOps(stream)
		if err != nil {
			return nil, err
		}
		r, err := t.Txn(ctx, ops)
		var e *backend.Error
		if errors.As(err, &e) {
			failed = e.Ops
		}
		return r, err
	})
	if err != nil {
		if broken := sendFailed(stream, failed); broken != nil {
			return broken
		}
		return err
	}
	size := func(r *backend.TxnOpResult) int { return itemRoom + sizeOf(r.Entry) }
	return sendChunks(r.Results, size, func(results []backend.TxnOpResult, last bool) error {
		chunk := &proto.TxnChunk{Results: make([]*proto.TxnOpResult, len(results)), Last: last}
		for i, r := range results {
			chunk.Results[i] = &proto.TxnOpResult{Op: count(r.Op), Entry: entryToProto(r.Entry)}
		}
		return stream.Send(chunk)
	})
}

// resultFromProto returns the result of an operation. Not every one has a value.
func resultFromProto(p *proto.TxnOpResult) backend.TxnOpResult {
	r := backend.TxnOpResult{Op: int(p.GetOp()), Entry: entryFromProto(p.GetEntry())}
	if r.Entry != nil && p.GetEntry().Value == nil {
		r.Entry.Value = nil
	}
	return r
}

// receiveOps receives the operations of a transaction, as many and as large as
// there may be.
func receiveOps(stream grpc.BidiStreamingServer[proto.TxnOp, proto.TxnChunk]) ([]backend.TxnOp, error) {
	var ops []backend.TxnOp
	size := 0
	for {
		op, err := stream.Recv()
		if err == io.EOF {
			return ops, nil
		}
		if err != nil {
			return nil, backend.Errorf(backend.NoQuorum, "", "the transaction did not arrive, and nothing happened: %w", err)
		}
		size += protobuf.Size(op)
		switch {
		case len(ops) == backend.MaxTxnOps:
			return nil, backend.Errorf(backend.TooLarge, "", "the transaction has too many operations: at most %d; split it", backend.MaxTxnOps)
		case size > maxMessageSize:
			return nil, backend.Errorf(backend.TooLarge, "", "the transaction is too large: its operations may have %d bytes together; split it", maxMessageSize)
		}
		ops = append(ops, opFromProto(op))
	}
}

// sendFailed sends what is wrong with operations. It does not fit the trailer that
// has the error.
func sendFailed(stream grpc.BidiStreamingServer[proto.TxnOp, proto.TxnChunk], failed []backend.OpError) error {
	if len(failed) == 0 {
		return nil
	}
	size := func(f *backend.OpError) int { return itemRoom + len(f.Key) + len(f.Message) }
	return sendChunks(failed, size, func(failed []backend.OpError, _ bool) error {
		chunk := &proto.TxnChunk{Failed: make([]*proto.TxnOpError, len(failed))}
		for i, f := range failed {
			chunk.Failed[i] = &proto.TxnOpError{Op: count(f.Op), Code: uint32(f.Code), Key: cutKey(f.Key), Message: cut(f.Message, maxErrorMessage)}
		}
		return stream.Send(chunk)
	})
}

// Txn carries out a transaction; see backend.Transactional. What can not succeed is
// refused without being sent, with Invalid if it is the plugin that can not. The
// result may be larger than one message between the processes.
func (c *Client) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	if err := c.checkTxn(ops); err != nil {
		return nil, err
	}
	var failed []backend.OpError
	r, err := invoke(ctx, c, writes, "", func(ctx context.Context) (*backend.TxnResult, error) {
		stream, err := c.rpc.Txn(ctx)
		if err != nil {
			return nil, err
		}
		for _, op := range ops {
			if err := stream.Send(opToProto(op)); err == io.EOF {
				break // the plugin has answered already
			} else if err != nil {
				return nil, err
			}
		}
		if err := stream.CloseSend(); err != nil {
			return nil, err
		}
		r := &backend.TxnResult{}
		return r, receiveChunks(stream.Recv, func(chunk *proto.TxnChunk) {
			for _, p := range chunk.GetResults() {
				r.Results = append(r.Results, resultFromProto(p))
			}
			for _, p := range chunk.GetFailed() {
				code, message := decodeCode(p.GetCode(), p.GetMessage())
				failed = append(failed, backend.OpError{Op: int(p.GetOp()), Code: code, Key: string(p.GetKey()), Message: message})
			}
		})
	})
	var e *backend.Error
	if errors.As(err, &e) {
		e.Ops = failed
	}
	return r, err
}

// checkTxn returns an error unless the plugin could carry out ops.
func (c *Client) checkTxn(ops []backend.TxnOp) error {
	if err := c.needs(backend.CanTransact, ""); err != nil {
		return err
	}
	if err := c.limits.CheckTxn(ops); err != nil {
		return err
	}
	var failed []backend.OpError
	for i, op := range ops {
		var e *backend.Error
		if op.Verb != backend.VerbSet && op.Verb != backend.VerbCAS {
			op.ExpiresAfter = 0 // nobody heeds it
		}
		if err := c.heeds(op.Key, op.ExpiresAfter, op.Fence); errors.As(err, &e) {
			failed = append(failed, backend.OpError{Op: i, Code: e.Code, Key: e.Key, Message: e.Message})
		}
	}
	if len(failed) > 0 {
		return backend.OpsError(failed)
	}
	return nil
}

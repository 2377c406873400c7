package plugin

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// Interactive transactions: the plugin's side, then the host's. See transactions
// for what the plugin keeps.

// Begin starts a transaction.
func (s *service) Begin(ctx context.Context, req *proto.BeginRequest) (*proto.BeginReply, error) {
	return do(ctx, s, reads, func(ctx context.Context, b backend.Backend) (*proto.BeginReply, error) {
		t, err := able[backend.Transactional](b, backend.CanTransact, "")
		if err != nil {
			return nil, err
		}
		number, err := s.transactions.begin(ctx, func() (backend.Tx, error) {
			return t.Begin(ctx, backend.TxOptions{ReadOnly: req.GetReadOnly()})
		})
		return &proto.BeginReply{Transaction: number}, err
	})
}

// in runs f, a call in a transaction, under the host's deadline.
func in[T any](ctx context.Context, s *service, number uint64, f func(context.Context, backend.Tx) (T, error)) (T, error) {
	return during(ctx, s, reads, number, false, f)
}

// ending runs f, which ends a transaction.
func ending[T any](ctx context.Context, s *service, what effect, number uint64, f func(context.Context, backend.Tx) (T, error)) (T, error) {
	return during(ctx, s, what, number, true, f)
}

func during[T any](ctx context.Context, s *service, what effect, number uint64, end bool, f func(context.Context, backend.Tx) (T, error)) (T, error) {
	return do(ctx, s, what, func(ctx context.Context, _ backend.Backend) (T, error) {
		tx, done, err := s.transactions.use(number, end)
		if err != nil {
			var none T
			return none, err
		}
		defer done()
		return f(ctx, tx)
	})
}

// TxGet reads one key in a transaction.
func (s *service) TxGet(ctx context.Context, req *proto.TxGetRequest) (*proto.GetReply, error) {
	return in(ctx, s, req.GetTransaction(), func(ctx context.Context, tx backend.Tx) (*proto.GetReply, error) {
		e, err := tx.Get(ctx, string(req.GetKey()))
		return &proto.GetReply{Entry: entryToProto(e)}, err
	})
}

// TxList sends a listing in a transaction in chunks.
func (s *service) TxList(req *proto.TxListRequest, stream grpc.ServerStreamingServer[proto.ListChunk]) error {
	r, err := in(stream.Context(), s, req.GetTransaction(), func(ctx context.Context, tx backend.Tx) (*backend.ListResult, error) {
		return tx.List(ctx, queryFromProto(req.GetQuery()))
	})
	if err != nil {
		return err
	}
	return sendList(stream, r)
}

// TxPut stores a value in a transaction.
func (s *service) TxPut(ctx context.Context, req *proto.TxPutRequest) (*proto.TxPutReply, error) {
	return in(ctx, s, req.GetTransaction(), func(ctx context.Context, tx backend.Tx) (*proto.TxPutReply, error) {
		key, value, opts := putFromProto(req.GetPut())
		return &proto.TxPutReply{}, tx.Put(ctx, key, value, opts)
	})
}

// TxDelete removes a key in a transaction.
func (s *service) TxDelete(ctx context.Context, req *proto.TxDeleteRequest) (*proto.DeleteReply, error) {
	return in(ctx, s, req.GetTransaction(), func(ctx context.Context, tx backend.Tx) (*proto.DeleteReply, error) {
		key, opts := deleteFromProto(req.GetDelete())
		return &proto.DeleteReply{}, tx.Delete(ctx, key, opts)
	})
}

// Commit ends a transaction.
func (s *service) Commit(ctx context.Context, req *proto.CommitRequest) (*proto.CommitReply, error) {
	return ending(ctx, s, writes, req.GetTransaction(), func(ctx context.Context, tx backend.Tx) (*proto.CommitReply, error) {
		return &proto.CommitReply{}, tx.Commit(ctx)
	})
}

// Rollback ends a transaction without a trace.
func (s *service) Rollback(ctx context.Context, req *proto.RollbackRequest) (*proto.RollbackReply, error) {
	return ending(ctx, s, reads, req.GetTransaction(), func(ctx context.Context, tx backend.Tx) (*proto.RollbackReply, error) {
		return &proto.RollbackReply{}, tx.Rollback(ctx)
	})
}

// Begin starts an interactive transaction; see backend.Transactional. It fails with
// Invalid unless the plugin can, and with NotReady when 512 are open already. So do
// writes, and change nothing, when all that are open have written 256 MiB together.
// One that is not used for a minute is rolled back; calls fail with TxnDone then.
func (c *Client) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	if err := c.needs(backend.CanTransact, ""); err != nil {
		return nil, err
	}
	r, err := invoke(ctx, c, reads, "", func(ctx context.Context) (*proto.BeginReply, error) {
		return c.rpc.Begin(ctx, &proto.BeginRequest{ReadOnly: opts.ReadOnly})
	})
	if err != nil {
		return nil, err
	}
	return &tx{c: c, number: r.GetTransaction(), readOnly: opts.ReadOnly}, nil
}

// A tx is an interactive transaction in the plugin.
type tx struct {
	c        *Client
	number   uint64
	readOnly bool
	// done: Commit or Rollback was called.
	done atomic.Bool
	// doubtful: a write was given up before the plugin answered. It may be part of
	// the transaction, although the caller was told that it failed, so that this
	// must not commit.
	doubtful atomic.Bool
}

// call runs one call of a transaction.
func call[T any](ctx context.Context, t *tx, key string, f func(context.Context) (T, error)) (T, error) {
	var none T
	if t.done.Load() {
		return none, errDone(key)
	}
	if t.doubtful.Load() {
		return none, errDoubtful(key)
	}
	return invoke(ctx, t.c, reads, key, f)
}

// write runs one call of a transaction that writes.
func write[T any](ctx context.Context, t *tx, key string, f func(context.Context) (T, error)) error {
	_, err := call(ctx, t, key, func(ctx context.Context) (T, error) {
		v, err := f(ctx)
		if err != nil && decodeError(status.Convert(err)) == nil {
			t.doubtful.Store(true)
		}
		return v, err
	})
	return err
}

func errDone(key string) error {
	return backend.Errorf(backend.TxnDone, key, "the transaction was committed or rolled back; begin a new one")
}

func errDoubtful(key string) error {
	return backend.Errorf(backend.TxnConflict, key, "an earlier write of the transaction was given up before the plugin answered, so that it is not known what the transaction would write; begin it anew")
}

// Get, List, Put, Delete, Commit and Rollback are as in backend.Tx.
func (t *tx) Get(ctx context.Context, key string) (*backend.Entry, error) {
	return call(ctx, t, key, func(ctx context.Context) (*backend.Entry, error) {
		r, err := t.c.rpc.TxGet(ctx, &proto.TxGetRequest{Transaction: t.number, Key: []byte(key)})
		return entryFromProto(r.GetEntry()), err
	})
}

func (t *tx) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	return call(ctx, t, "", func(ctx context.Context) (*backend.ListResult, error) {
		return receiveList(t.c.rpc.TxList(ctx, &proto.TxListRequest{Transaction: t.number, Query: queryToProto(q)}))
	})
}

func (t *tx) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
	if err := t.c.limits.CheckTxPut(key, value, opts); err != nil {
		return err
	}
	if err := t.c.heeds(key, opts.ExpiresAfter, opts.Fence); err != nil {
		return err
	}
	return write(ctx, t, key, func(ctx context.Context) (*proto.TxPutReply, error) {
		return t.c.rpc.TxPut(ctx, &proto.TxPutRequest{Transaction: t.number, Put: putToProto(key, value, opts)})
	})
}

func (t *tx) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	if err := t.c.limits.CheckTxDelete(key, opts); err != nil {
		return err
	}
	if err := t.c.heeds(key, 0, opts.Fence); err != nil {
		return err
	}
	return write(ctx, t, key, func(ctx context.Context) (*proto.DeleteReply, error) {
		return t.c.rpc.TxDelete(ctx, &proto.TxDeleteRequest{Transaction: t.number, Delete: deleteToProto(key, opts)})
	})
}

func (t *tx) Commit(ctx context.Context) error {
	if t.done.Swap(true) {
		return errDone("")
	}
	if t.doubtful.Load() {
		t.abandon()
		return errDoubtful("")
	}
	return t.end(ctx, effect(!t.readOnly), func(ctx context.Context) error {
		_, err := t.c.rpc.Commit(ctx, &proto.CommitRequest{Transaction: t.number})
		return err
	})
}

func (t *tx) Rollback(ctx context.Context) error {
	if t.done.Swap(true) {
		return errDone("")
	}
	return t.end(ctx, reads, t.rollback)
}

func (t *tx) rollback(ctx context.Context) error {
	_, err := t.c.rpc.Rollback(ctx, &proto.RollbackRequest{Transaction: t.number})
	return err
}

// end runs the call that ends the transaction. If it is not even sent, the plugin
// is told all the same that it need not keep the transaction.
func (t *tx) end(ctx context.Context, what effect, f func(context.Context) error) error {
	sent := false
	_, err := invoke(ctx, t.c, what, "", func(ctx context.Context) (struct{}, error) {
		sent = true
		return struct{}{}, f(ctx)
	})
	if !sent {
		t.abandon()
	}
	return err
}

// abandon frees a transaction that nobody can use any more. If the plugin does not
// hear of it, it frees that after idleTimeout.
func (t *tx) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), answerGrace)
	defer cancel()
	_, _ = invoke(ctx, t.c, reads, "", func(ctx context.Context) (struct{}, error) { return struct{}{}, t.rollback(ctx) })
}

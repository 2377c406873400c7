package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// openFunc is ServeConfig.Open.
type openFunc func(ctx context.Context, config map[string]string) (backend.Backend, backend.Admin, error)

// service is the gRPC service in the plugin's process. It has no backend until
// Configure has opened one.
type service struct {
	proto.UnimplementedBackendServer

	open    openFunc
	version string

	// closing is cancelled by close, and with it an Open under way.
	closing   context.Context
	setClosed context.CancelFunc
	// hurrying is cancelled by hurry, and with it what a Stopper does before it is
	// closed.
	hurrying context.Context
	hurry    context.CancelFunc
	// asked: the host has called Close.
	asked atomic.Bool
	// close ends the service: an Open under way is cancelled, the backend stops
	// and is closed, later calls fail with Closed. It takes at most closeBound
	// and, for a Stopper, what closeTimeoutOf says. Every call returns the result
	// of the first.
	close func() error

	mu sync.RWMutex
	// opening is not nil while Open runs, and closed when that has returned.
	opening chan struct{}
	backend backend.Backend
	admin   backend.Admin

	transactions *transactions
}

func newService(open openFunc, version string) *service {
	s := &service{open: open, version: version, transactions: newTransactions()}
	s.closing, s.setClosed = context.WithCancel(context.Background())
	s.hurrying, s.hurry = context.WithCancel(context.Background())
	s.close = sync.OnceValue(s.shut)
	return s
}

func errClosed() error {
	return backend.Errorf(backend.Closed, "", "the plugin's backend was closed; open the plugin again")
}

// serving returns the backend, or why there is none.
func (s *service) serving() (backend.Backend, backend.Admin, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.closing.Err() != nil:
		return nil, nil, errClosed()
	case s.opening != nil:
		return nil, nil, backend.Errorf(backend.NotReady, "", "the plugin is being configured; wait for Configure to return")
	case s.backend == nil:
		return nil, nil, backend.Errorf(backend.NotReady, "", "the plugin is not configured; call Configure first")
	}
	return s.backend, s.admin, nil
}

// Configure opens the backend with the host's configuration.
func (s *service) Configure(ctx context.Context, req *proto.ConfigureRequest) (*proto.ConfigureReply, error) {
	ctx, cancel, err := incoming(ctx)
	if err != nil {
		return nil, encodeError(err, reads)
	}
	defer cancel()
	if err := s.configure(ctx, req.GetConfig()); err != nil {
		return nil, encodeError(err, reads)
	}
	b, _, err := s.serving()
	if err != nil {
		return nil, encodeError(err, reads)
	}
	return &proto.ConfigureReply{Info: s.info(), Limits: limitsToProto(b.Limits()), CloseTimeoutMs: closeTimeoutOf(b)}, nil
}

func (s *service) configure(ctx context.Context, config map[string]string) error {
	s.mu.Lock()
	switch {
	case s.closing.Err() != nil:
		s.mu.Unlock()
		return errClosed()
	case s.opening != nil || s.backend != nil:
		s.mu.Unlock()
		return backend.Errorf(backend.Invalid, "", "the plugin is already configured; open another one for another configuration")
	}
	opened := make(chan struct{})
	s.opening = opened
	s.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	if config == nil {
		config = map[string]string{}
	}
	b, admin, err := s.open(ctx, config)
	if err == nil {
		err = checkFits(b)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening = nil
	close(opened)
	var typed *backend.Error
	switch {
	case err == nil:
		s.backend, s.admin = b, admin
		return nil
	case errors.As(err, &typed):
		return err
	case s.closing.Err() != nil:
		return errClosed()
	case ctx.Err() != nil:
		return backend.Errorf(backend.NotReady, "", "the backend was not open when the host gave up: %w", err)
	}
	return backend.Errorf(backend.Internal, "", "open the backend: %w", err)
}

// checkFits closes b and returns an error when its values do not fit a message.
func checkFits(b backend.Backend) error {
	if b == nil {
		return backend.Errorf(backend.Internal, "", "the plugin's Open returned neither a backend nor an error")
	}
	const most = maxMessageSize - messageRoom
	n := b.Limits().MaxValueSize
	if n <= most {
		return nil
	}
	err := backend.Errorf(backend.Invalid, "", "max_value_size is %d and may be at most %d in a plugin", n, most)
	if cerr := b.Close(); cerr != nil {
		err.Message += "; closing the backend failed too: " + cerr.Error()
	}
	return err
}

func (s *service) info() *proto.InfoReply {
	b, admin, err := s.serving()
	info := &proto.InfoReply{Version: s.version, Protocol: ProtocolVersion, Ready: err == nil}
	if admin != nil {
		info.Capabilities = append(info.Capabilities, capabilityAdmin, capabilityReshape)
	}
	if b != nil {
		can := backend.CapabilitiesOf(b)
		info.Contract = uint32(can)
		if can.Has(backend.CanWatch) {
			info.Capabilities = append(info.Capabilities, capabilityWatch)
		}
	}
	return info
}

// Info tells what the plugin is.
func (s *service) Info(context.Context, *proto.InfoRequest) (*proto.InfoReply, error) {
	return s.info(), nil
}

// Close closes the backend.
func (s *service) Close(context.Context, *proto.CloseRequest) (*proto.CloseReply, error) {
	s.asked.Store(true)
	if err := s.close(); err != nil {
		return nil, encodeError(err, reads)
	}
	return &proto.CloseReply{}, nil
}

// do runs f on the backend under the host's deadline.
func do[T any](ctx context.Context, s *service, what effect, f func(context.Context, backend.Backend) (T, error)) (T, error) {
	var none T
	ctx, cancel, err := incoming(ctx)
	if err != nil {
		return none, encodeError(err, what)
	}
	defer cancel()
	b, _, err := s.serving()
	if err != nil {
		return none, encodeError(err, what)
	}
	v, err := f(ctx, b)
	if err != nil {
		return none, encodeError(err, what)
	}
	return v, nil
}

// Get reads one key.
func (s *service) Get(ctx context.Context, req *proto.GetRequest) (*proto.GetReply, error) {
	return do(ctx, s, reads, func(ctx context.Context, b backend.Backend) (*proto.GetReply, error) {
		e, err := b.Get(ctx, string(req.GetKey()), backend.GetOptions{Stale: req.GetStale()})
		return &proto.GetReply{Entry: entryToProto(e)}, err
	})
}

// Put stores a value.
func (s *service) Put(ctx context.Context, req *proto.PutRequest) (*proto.PutReply, error) {
	return do(ctx, s, writes, func(ctx context.Context, b backend.Backend) (*proto.PutReply, error) {
		key, value, opts := putFromProto(req)
		index, err := b.Put(ctx, key, value, opts)
		return &proto.PutReply{Index: index}, err
	})
}

// Delete removes a key.
func (s *service) Delete(ctx context.Context, req *proto.DeleteRequest) (*proto.DeleteReply, error) {
	return do(ctx, s, writes, func(ctx context.Context, b backend.Backend) (*proto.DeleteReply, error) {
		key, opts := deleteFromProto(req)
		return &proto.DeleteReply{}, b.Delete(ctx, key, opts)
	})
}

// Pop reads and deletes a key.
func (s *service) Pop(ctx context.Context, req *proto.PopRequest) (*proto.PopReply, error) {
	return do(ctx, s, writes, func(ctx context.Context, b backend.Backend) (*proto.PopReply, error) {
		e, err := b.Pop(ctx, string(req.GetKey()))
		return &proto.PopReply{Entry: entryToProto(e)}, err
	})
}

// PopItem pops any one key.
func (s *service) PopItem(ctx context.Context, _ *proto.PopItemRequest) (*proto.PopReply, error) {
	return do(ctx, s, writes, func(ctx context.Context, b backend.Backend) (*proto.PopReply, error) {
		e, err := b.PopItem(ctx)
		return &proto.PopReply{Entry: entryToProto(e)}, err
	})
}

// List sends a listing in chunks.
func (s *service) List(req *proto.ListRequest, stream grpc.ServerStreamingServer[proto.ListChunk]) error {
	r, err := do(stream.Context(), s, reads, func(ctx context.Context, b backend.Backend) (*backend.ListResult, error) {
		return b.List(ctx, queryFromProto(req))
	})
	if err != nil {
		return err
	}
	return sendList(stream, r)
}

// operate runs f, an operator's call, under the host's deadline.
func operate[T any](ctx context.Context, s *service, what effect, f func(context.Context, backend.Admin) (T, error)) (T, error) {
	return do(ctx, s, what, func(ctx context.Context, _ backend.Backend) (T, error) {
		var none T
		_, admin, err := s.serving()
		if err != nil {
			return none, err
		}
		if admin == nil {
			return none, backend.Errorf(backend.Invalid, "", "this plugin does not have the capability %q", capabilityAdmin)
		}
		return f(ctx, admin)
	})
}

// describe answers an operator's call with the JSON of what f returns.
func describe[T any](ctx context.Context, s *service, what effect, f func(context.Context, backend.Admin) (T, error)) (*proto.Document, error) {
	return operate(ctx, s, what, func(ctx context.Context, a backend.Admin) (*proto.Document, error) {
		v, err := f(ctx, a)
		if err != nil {
			return nil, err
		}
		// A page of a verification is large, and nobody shows it to a browser.
		var text bytes.Buffer
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			return nil, backend.Errorf(backend.Internal, "", "encode the answer: %w", err)
		}
		return &proto.Document{Json: text.Bytes()}, nil
	})
}

// Status describes the node.
func (s *service) Status(ctx context.Context, _ *proto.StatusRequest) (*proto.Document, error) {
	return describe(ctx, s, reads, func(ctx context.Context, a backend.Admin) (*backend.Status, error) { return a.Status(ctx) })
}

// Members lists the nodes.
func (s *service) Members(ctx context.Context, _ *proto.MembersRequest) (*proto.Document, error) {
	return describe(ctx, s, reads, func(ctx context.Context, a backend.Admin) ([]backend.Member, error) { return a.Members(ctx) })
}

// Ring describes the ring.
func (s *service) Ring(ctx context.Context, _ *proto.RingRequest) (*proto.Document, error) {
	return describe(ctx, s, reads, func(ctx context.Context, a backend.Admin) (*backend.Ring, error) { return a.Ring(ctx) })
}

// Locate tells where a key lives.
func (s *service) Locate(ctx context.Context, req *proto.LocateRequest) (*proto.Document, error) {
	return describe(ctx, s, reads, func(ctx context.Context, a backend.Admin) (*backend.Location, error) {
		return a.Locate(ctx, string(req.GetKey()))
	})
}

package plugin

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// Client is a backend in a plugin's process. It is made by Open.
//
// When the plugin dies, reads that wait fail with backend.Closed and writes that
// wait with backend.UnknownOutcome; every later call fails with backend.Closed,
// and every lock is lost.
type Client struct {
	*keeper

	path      string
	pid       int
	process   *goplugin.Client
	rpc       proto.BackendClient
	limits    backend.Limits
	info      Info
	can       backend.Capability
	socketDir string
	// closeTimeout is how long Close waits for the plugin. Then it is killed.
	closeTimeout time.Duration

	// kill sends SIGKILL to the process; it is harmless when that is gone.
	kill context.CancelFunc
	// closing makes the goroutine of watch end the process.
	closing context.CancelFunc
	// gone says why the plugin can not be used any more; nil while it can.
	gone atomic.Pointer[string]
	// watches counts the calls of Watch under way.
	watches atomic.Int64
	// calling is held, shared, by every call under way.
	calling sync.RWMutex
	// done is closed when the process was waited for.
	done chan struct{}
}

var (
	_ backend.Backend = (*Client)(nil)
	_ backend.Admin   = (*Client)(nil)
	_ backend.Watcher = (*Client)(nil)
	_ backend.Fencer  = (*Client)(nil)

	_ backend.Transactional = (*Client)(nil)
	_ backend.Sessions      = (*Client)(nil)
	_ backend.Locker        = (*Client)(nil)

	_ backend.Describer = (*Client)(nil)
)

// Info says what a plugin is.
type Info struct {
	// Version is the version of the plugin's program, for people.
	Version string
	// Protocol is the version of the plugin protocol that is spoken.
	Protocol int
	// Capabilities name what the plugin can do beyond the operations of
	// backend.Backend. "admin": it answers the calls of backend.Admin; "reshape":
	// also Leave, Remove and Verify, which older plugins refuse with Invalid;
	// "watch": it is a backend.Watcher. What more of the contract it can do,
	// Client.Capabilities says.
	Capabilities []string
}

// Info returns what the plugin said of itself when it was opened.
func (c *Client) Info() Info {
	info := c.info
	info.Capabilities = append([]string(nil), info.Capabilities...)
	return info
}

// configure is the first call to a plugin.
func (c *Client) configure(ctx context.Context, config map[string]string) error {
	call, cancel := outgoing(ctx)
	defer cancel()
	r, err := c.rpc.Configure(call, &proto.ConfigureRequest{Config: config})
	if err != nil {
		if e := decodeError(status.Convert(err)); e != nil {
			e.Cause = over(ctx)
			return e
		}
		if cause := over(ctx); cause != nil {
			return backend.Errorf(backend.NotReady, "", "plugin %s was not ready when the context ended: %w", c.path, cause)
		}
		return backend.Errorf(backend.Internal, "", "plugin %s ended while it was configured; its log says why: %w", c.path, err)
	}
	c.limits = limitsFromProto(r.GetLimits())
	c.closeTimeout = patience(r.GetCloseTimeoutMs())
	c.info = Info{
		Version:      r.GetInfo().GetVersion(),
		Protocol:     int(r.GetInfo().GetProtocol()),
		Capabilities: r.GetInfo().GetCapabilities(),
	}
	c.can = capabilitiesOf(r.GetInfo())
	return nil
}

// invoke runs one call: f gets the context to call with. key is for errors that
// do not come from the plugin.
func invoke[T any](ctx context.Context, c *Client, what effect, key string, f func(context.Context) (T, error)) (T, error) {
	var none T
	if why := c.gone.Load(); why != nil {
		return none, c.closed(*why, key)
	}
	c.calling.RLock()
	defer c.calling.RUnlock()
	if why := c.gone.Load(); why != nil {
		return none, c.closed(*why, key)
	}
	if err := over(ctx); err != nil {
		return none, backend.Errorf(backend.NoQuorum, key, "nothing was sent to the plugin: %w", err)
	}
	call, cancel := outgoing(ctx)
	defer cancel()
	v, err := f(call)
	if err != nil {
		return none, c.failed(ctx, err, key, what)
	}
	return v, nil
}

func (c *Client) closed(why, key string) *backend.Error {
	return backend.Errorf(backend.Closed, key, "%s (%s); open it again", why, c.path)
}

// failed turns the error of a call under ctx into the contract's.
func (c *Client) failed(ctx context.Context, err error, key string, what effect) error {
	st := status.Convert(err)
	if e := decodeError(st); e != nil {
		if e.Code == backend.NoQuorum || e.Code == backend.UnknownOutcome {
			e.Cause = over(ctx)
		}
		return e
	}
	if cause := over(ctx); cause != nil {
		return backend.Errorf(what.unanswered(), key, "the plugin did not answer before the context ended: %w", cause)
	}
	switch st.Code() {
	case codes.Unavailable, codes.Canceled:
		why := "the connection to the plugin broke"
		if known := c.gone.Load(); known != nil {
			why = *known
		}
		e := c.closed(why, key)
		if what == writes {
			e.Code = backend.UnknownOutcome
		}
		e.Cause = err
		return e
	case codes.DeadlineExceeded:
		return backend.Errorf(what.unanswered(), key, "the plugin did not answer in time: %w", err)
	case codes.ResourceExhausted:
		return backend.Errorf(backend.TooLarge, key, "a message to or from the plugin may have %d bytes: %w", maxMessageSize, err)
	case codes.Unimplemented:
		return backend.Errorf(backend.Invalid, key, "the plugin is older than this host and does not know this call: %w", err)
	}
	code := backend.Internal
	if what == writes {
		code = backend.UnknownOutcome
	}
	return backend.Errorf(code, key, "call to the plugin: %w", err)
}

// Get returns the entry of key, or nil.
func (c *Client) Get(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
	return invoke(ctx, c, reads, key, func(ctx context.Context) (*backend.Entry, error) {
		r, err := c.rpc.Get(ctx, &proto.GetRequest{Key: []byte(key), Stale: opts.Stale})
		return entryFromProto(r.GetEntry()), err
	})
}

// Put stores value at key and returns the index of the change. A value over the
// limit is refused without being sent.
func (c *Client) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	if err := c.limits.CheckValue(key, value); err != nil {
		return 0, err
	}
	if err := c.heeds(key, opts.ExpiresAfter, opts.Fence); err != nil {
		return 0, err
	}
	return invoke(ctx, c, writes, key, func(ctx context.Context) (uint64, error) {
		r, err := c.rpc.Put(ctx, putToProto(key, value, opts))
		return r.GetIndex(), err
	})
}

// Delete removes key.
func (c *Client) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	if err := c.heeds(key, 0, opts.Fence); err != nil {
		return err
	}
	_, err := invoke(ctx, c, writes, key, func(ctx context.Context) (*proto.DeleteReply, error) {
		return c.rpc.Delete(ctx, deleteToProto(key, opts))
	})
	return err
}

// Pop reads and deletes key in one change.
func (c *Client) Pop(ctx context.Context, key string) (*backend.Entry, error) {
	return invoke(ctx, c, writes, key, func(ctx context.Context) (*backend.Entry, error) {
		r, err := c.rpc.Pop(ctx, &proto.PopRequest{Key: []byte(key)})
		return entryFromProto(r.GetEntry()), err
	})
}

// PopItem pops any one key.
func (c *Client) PopItem(ctx context.Context) (*backend.Entry, error) {
	return invoke(ctx, c, writes, "", func(ctx context.Context) (*backend.Entry, error) {
		r, err := c.rpc.PopItem(ctx, &proto.PopItemRequest{})
		return entryFromProto(r.GetEntry()), err
	})
}

// List returns what lies under a prefix. The result may be larger than one
// message between the processes.
func (c *Client) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	return invoke(ctx, c, reads, "", func(ctx context.Context) (*backend.ListResult, error) {
		return receiveList(c.rpc.List(ctx, queryToProto(q)))
	})
}

// Limits returns the sizes that the plugin's backend accepts.
func (c *Client) Limits() backend.Limits { return c.limits }

// described decodes the document that f returns.
func described[T any](ctx context.Context, c *Client, what effect, key string, f func(context.Context) (*proto.Document, error)) (T, error) {
	var v, none T
	d, err := invoke(ctx, c, what, key, f)
	if err != nil {
		return none, err
	}
	if err := json.Unmarshal(d.GetJson(), &v); err != nil {
		code := backend.Internal
		if what == writes {
			code = backend.UnknownOutcome
		}
		return none, backend.Errorf(code, key, "the plugin's answer cannot be read: %w", err)
	}
	return v, nil
}

// Status describes the plugin's node.
func (c *Client) Status(ctx context.Context) (*backend.Status, error) {
	return described[*backend.Status](ctx, c, reads, "", func(ctx context.Context) (*proto.Document, error) {
		return c.rpc.Status(ctx, &proto.StatusRequest{})
	})
}

// Members lists what gossip knows of every node.
func (c *Client) Members(ctx context.Context) ([]backend.Member, error) {
	return described[[]backend.Member](ctx, c, reads, "", func(ctx context.Context) (*proto.Document, error) {
		return c.rpc.Members(ctx, &proto.MembersRequest{})
	})
}

// Ring describes the configuration that places the keys.
func (c *Client) Ring(ctx context.Context) (*backend.Ring, error) {
	return described[*backend.Ring](ctx, c, reads, "", func(ctx context.Context) (*proto.Document, error) {
		return c.rpc.Ring(ctx, &proto.RingRequest{})
	})
}

// Locate tells where a key lives.
func (c *Client) Locate(ctx context.Context, key string) (*backend.Location, error) {
	return described[*backend.Location](ctx, c, reads, key, func(ctx context.Context) (*proto.Document, error) {
		return c.rpc.Locate(ctx, &proto.LocateRequest{Key: []byte(key)})
	})
}

package httpapi

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/locking"
)

// DefaultAddr is where an agent listens when nothing is configured.
const DefaultAddr = "127.0.0.1:8500"

const (
	// maxConns bounds the connections of a client to its agent; further calls
	// wait for one within their context.
	maxConns = 256
	// maxWatching bounds those on which Watch waits.
	maxWatching = 4096
	// maxIdleConns of them are kept, for less time than the server keeps them,
	// so that a call does not begin on a connection that is being closed.
	maxIdleConns   = 64
	clientIdleTime = IdleTimeout * 3 / 4
	dialTimeout    = 10 * time.Second
	// limitsTimeout is how long Limits waits for the agent.
	limitsTimeout = 5 * time.Second
)

// ClientConfig says which agent a Client talks to.
type ClientConfig struct {
	// Addr is host:port, or a URL of scheme http or https. Empty: DefaultAddr.
	Addr string
	// Transport carries the requests. Nil: one of the client's own, which uses
	// the proxy of the environment except for loopback. Close closes its idle
	// connections.
	Transport http.RoundTripper
}

// Client is a backend.Backend, with all that the agent's can do, and a
// backend.Admin over the HTTP API of an agent. It is made for the command line and
// for programs that do not load the plugin.
//
// Its locks are made here, of the agent's sessions, transactions and watches: the
// Keeper renews what Lock makes, and knows what is lost.
//
// An agent that can not be reached is NotReady: nothing happened. A change whose
// connection broke after it may have been sent is UnknownOutcome. The deadline
// of a call travels to the agent, less a tenth of it or 100 ms at most, so that
// the agent's own error arrives in time.
type Client struct {
	*locking.Keeper

	base        *url.URL
	http        *http.Client
	watching    *http.Client // for what waits
	maxResponse int64

	// life ends with Close.
	life context.Context
	end  context.CancelFunc

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
	limits *wireLimits
}

var (
	_ backend.Backend       = (*Client)(nil)
	_ backend.Admin         = (*Client)(nil)
	_ backend.Watcher       = (*Client)(nil)
	_ backend.Transactional = (*Client)(nil)
	_ backend.Sessions      = (*Client)(nil)
	_ backend.Locker        = (*Client)(nil)
	_ backend.Fencer        = (*Client)(nil)
)

// NewClient makes a client. It does not connect: the first call does. An address
// that can not be one is Invalid.
func NewClient(cfg ClientConfig) (*Client, error) {
	base, err := parseAddr(cfg.Addr)
	if err != nil {
		return nil, err
	}
	transport, waiting := cfg.Transport, cfg.Transport
	if transport == nil {
		own := &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			MaxConnsPerHost:        maxConns,
			MaxIdleConnsPerHost:    maxIdleConns,
			IdleConnTimeout:        clientIdleTime,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: MaxHeaderBytes,
			DisableCompression:     true,
		}
		others := own.Clone()
		others.MaxConnsPerHost = maxWatching
		transport, waiting = own, others
	}
	client := func(t http.RoundTripper) *http.Client {
		return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	c := &Client{base: base, maxResponse: maxResponse, http: client(transport), watching: client(waiting)}
	c.life, c.end = context.WithCancel(context.Background())
	c.Keeper = locking.New(direct{c}, nil)
	return c, nil
}

// parseAddr makes a URL of an address.
func parseAddr(addr string) (*url.URL, error) {
	if addr == "" {
		addr = DefaultAddr
	}
	full := addr
	if !strings.Contains(addr, "://") {
		full = "http://" + addr
	}
	u, err := url.Parse(full)
	if err != nil {
		return nil, backend.Errorf(backend.Invalid, "", "the agent's address %q is no address (set by -http-addr or CHORD_HTTP_ADDR): %w", addr, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, backend.Errorf(backend.Invalid, "", "the agent's address is %q; give host:port, http://host:port or https://host:port with -http-addr or CHORD_HTTP_ADDR", addr)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// Addr returns the agent's address as a URL.
func (c *Client) Addr() string { return c.base.String() }

// Limits asks the agent for its limits and remembers the answer until the agent finds
// something too large, or there is a new connection to it. While the agent can not be
// asked it returns the defaults of this API.
func (c *Client) Limits() backend.Limits {
	if wire := c.agent(); wire != nil {
		return backend.Limits{MaxKeySize: wire.MaxKeySize, MaxValueSize: wire.MaxValueSize}
	}
	fallback := backend.DefaultLimits()
	fallback.MaxValueSize = DefaultMaxValueSize
	return fallback
}

// lockable is what locks are made of.
const lockable = backend.CanTransact | backend.CanWatch | backend.CanKeepSessions

// Capabilities implements backend.Describer: what the agent can do over its API.
// While it can not be asked that is nothing.
func (c *Client) Capabilities() backend.Capability {
	wire := c.agent()
	switch {
	case wire == nil:
		return 0
	case wire.Capabilities.Has(lockable):
		return wire.Capabilities | backend.CanLock
	}
	return wire.Capabilities
}

// agent asks the agent for its limits, unless they are known; nil while it can not be
// asked.
func (c *Client) agent() *wireLimits {
	c.mu.Lock()
	known := c.limits
	c.mu.Unlock()
	if known != nil {
		return known
	}
	ctx, cancel := context.WithTimeout(c.life, limitsTimeout)
	defer cancel()
	got, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/chord/limits"})
	if err != nil {
		return nil
	}
	var wire wireLimits
	if json.Unmarshal(got.body, &wire) != nil || wire.MaxKeySize <= 0 || wire.MaxValueSize <= 0 {
		return nil
	}
	c.mu.Lock()
	c.limits = &wire
	c.mu.Unlock()
	return &wire
}

func (c *Client) forgetLimits() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits = nil
}

// Close ends the client: calls that wait fail with Closed, and so do later ones;
// its locks are lost. It returns when all calls have. The agent and what it stores
// stay, sessions until they expire.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.Keeper.Close()
	c.calls.Wait()
	c.http.CloseIdleConnections()
	c.watching.CloseIdleConnections()
	return nil
}

// begin counts a call in, unless the client is closed.
func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.calls.Add(1)
	}
	return !c.closed
}

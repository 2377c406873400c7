package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	metrics "github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Limits that are not configured.
const (
	// maxCandidates bounds the peers that a node knows of.
	maxCandidates = 4096
	// maxPeersSent bounds a 'peers' message.
	maxPeersSent = 128
	// maxDialing bounds the dials at a time.
	maxDialing = 16
	// maxPendingCalls bounds the calls whose response a node awaits.
	maxPendingCalls = 1 << 16
	// maxLearned bounds the routes learned from relayed frames.
	maxLearned = 4096
	// successors is how many successors a node keeps connected, besides fingers.
	successors = 4
	// minBackoff and maxBackoff bound the pause before a redial; it doubles in
	// between and is jittered to between a half and the whole of itself.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
	// hearsayTries is after how many failed dials in a row a peer that only
	// other peers told of is dropped.
	hearsayTries = 10
	// forgetFor is how long what other peers say of a forgotten node is ignored:
	// they may not have heard yet.
	forgetFor = time.Minute
	// warnEvery is how often one kind of failure with one peer is logged as a warning.
	warnEvery = time.Minute
	// closeFlush is how long Close waits for what is queued to be written.
	closeFlush = 250 * time.Millisecond
	// loopbackQueue bounds the sends of a node to itself that wait.
	loopbackQueue = 1024
)

// Config says how a node takes part in the mesh. Fields without a default are
// required unless they say otherwise.
type Config struct {
	// ID is the node's ID. Two running nodes with one ID refuse each other.
	ID ring.ID
	// Name is for people. May be empty.
	Name string
	// Role is RoleMember or RoleClient.
	Role Role
	// RingID and Epoch are told at each handshake; SetRing changes them. Empty
	// and 0: not in a ring yet.
	RingID ring.RingID
	Epoch  uint64

	// BindAddr is the host:port to listen at; port 0 takes a free one. A client
	// may leave it empty and then does not listen.
	BindAddr string
	// AdvertiseAddr is the host:port at which others dial the node. Default: the
	// address it listens at. Port 0 stands for the port it listens at. Required
	// if BindAddr is all interfaces (such as 0.0.0.0).
	AdvertiseAddr string
	// TLS, if not nil, protects all connections, verified both ways: it needs a
	// certificate, RootCAs (to check who is dialled) and ClientCAs (to check who
	// dials). ServerName, if empty, is the host that is dialled. nil: plain TCP,
	// which anybody on the way can read and forge.
	TLS *tls.Config

	// MaxOutgoing is the number of connections the node dials; one more than
	// that while one is exchanged for a better. Default 64. Less than the number
	// of its successors and fingers (about log2 of the members) makes routes
	// longer, or members unreachable.
	MaxOutgoing int
	// MaxIncoming is the number of connections the node accepts. Default 1024.
	MaxIncoming int
	// MaxAwaiting is the number of incoming connections that may be in their
	// handshake. Default 64.
	MaxAwaiting int
	// MaxFrame is the largest frame in bytes, its 4-byte length not counted.
	// Default 16 MiB + 64 KiB. All nodes of a ring need the same.
	MaxFrame int
	// MaxQueueBytes bounds what waits to be written to one peer. Default and
	// minimum: MaxFrame + 4. Memory can reach this for each peer that is slow.
	MaxQueueBytes int
	// MaxHandlers is the number of calls from others that run at a time; more
	// are refused with ErrBusy. Default 4096.
	MaxHandlers int
	// MaxHops is how many connections a relayed message may take. Default 16.
	MaxHops int

	// DialTimeout bounds the making of a TCP connection. Default 2 s.
	DialTimeout time.Duration
	// HandshakeTimeout bounds the handshake, TLS included. Default 3 s.
	HandshakeTimeout time.Duration
	// KeepAlive is how often each peer is pinged. Default 1 s.
	KeepAlive time.Duration
	// KeepAliveTimeout closes a connection from which nothing arrived, or on
	// which a write made no progress, for this long. Default 3 * KeepAlive. It
	// is noticed up to a KeepAlive late. Less than 2 * KeepAlive is refused.
	KeepAliveTimeout time.Duration

	// Logger takes what happens to connections. Default: none.
	Logger hclog.Logger
	// Metrics takes the counters of Stats as mesh.*, once a KeepAlive. Default: none.
	Metrics *metrics.Metrics
	// Dialer makes outgoing connections. Default: TCP. TLS comes on top.
	Dialer func(ctx context.Context, addr string) (net.Conn, error)
	// Listener is used in place of listening at BindAddr. The mesh closes it.
	Listener net.Listener
	// OnPeer is told when the direct connection to a peer came up (true) or went
	// (false): in order for each peer, one call at a time, a moment late. A
	// connection that came and went in that moment may be left out. It must not
	// call Close. May be nil.
	OnPeer func(p Peer, up bool)
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// complete fills in the defaults and says what is wrong.
func (c *Config) complete() error {
	setDefault(&c.MaxOutgoing, 64)
	setDefault(&c.MaxIncoming, 1024)
	setDefault(&c.MaxAwaiting, 64)
	setDefault(&c.MaxFrame, 16<<20+64<<10)
	setDefault(&c.MaxQueueBytes, c.MaxFrame+lengthBytes)
	setDefault(&c.MaxHandlers, 4096)
	setDefault(&c.MaxHops, 16)
	setDefault(&c.DialTimeout, 2*time.Second)
	setDefault(&c.HandshakeTimeout, 3*time.Second)
	setDefault(&c.KeepAlive, time.Second)
	setDefault(&c.KeepAliveTimeout, 3*c.KeepAlive)
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.OnPeer == nil {
		c.OnPeer = func(Peer, bool) {}
	}
	if c.Dialer == nil {
		c.Dialer = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	for _, n := range []struct {
		name   string
		v, min int
	}{
		{"MaxOutgoing", c.MaxOutgoing, 1}, {"MaxIncoming", c.MaxIncoming, 1}, {"MaxAwaiting", c.MaxAwaiting, 1},
		{"MaxFrame", c.MaxFrame, maxHello}, {"MaxQueueBytes", c.MaxQueueBytes, c.MaxFrame + lengthBytes},
		{"MaxHandlers", c.MaxHandlers, 1}, {"MaxHops", c.MaxHops, 1},
	} {
		if n.v < n.min {
			return fmt.Errorf("mesh: %s is %d; the least is %d", n.name, n.v, n.min)
		}
	}
	if c.MaxHops > 255 || c.MaxFrame > 1<<30 {
		return fmt.Errorf("mesh: MaxHops %d or MaxFrame %d is too large; the most is 255 and 1 GiB", c.MaxHops, c.MaxFrame)
	}
	for _, d := range []struct {
		name   string
		v, min time.Duration
	}{
		{"DialTimeout", c.DialTimeout, time.Millisecond}, {"HandshakeTimeout", c.HandshakeTimeout, time.Millisecond},
		{"KeepAlive", c.KeepAlive, time.Millisecond}, {"KeepAliveTimeout", c.KeepAliveTimeout, 2 * c.KeepAlive},
	} {
		if d.v < d.min {
			return fmt.Errorf("mesh: %s is %s; the least is %s", d.name, d.v, d.min)
		}
	}
	if c.Role == RoleMember && c.BindAddr == "" && c.Listener == nil {
		return errors.New("mesh: a member needs a bind address, such as 127.0.0.1:0")
	}
	return c.completeTLS()
}

func (c *Config) completeTLS() error {
	if c.TLS == nil {
		return nil
	}
	t := c.TLS.Clone()
	switch {
	case t.InsecureSkipVerify:
		return errors.New("mesh: TLS with InsecureSkipVerify would trust anybody who answers; give RootCAs")
	case t.RootCAs == nil || t.ClientCAs == nil:
		return errors.New("mesh: TLS needs RootCAs and ClientCAs, the authority that signed the nodes' certificates")
	case len(t.Certificates) == 0 && (t.GetCertificate == nil || t.GetClientCertificate == nil):
		return errors.New("mesh: TLS needs a certificate")
	}
	t.ClientAuth = tls.RequireAndVerifyClientCert
	t.MinVersion = max(t.MinVersion, tls.VersionTLS12)
	c.TLS = t
	return nil
}

// advertised returns the address to tell others, given the one listened at.
func (c *Config) advertised(listen string) (string, error) {
	addr := c.AdvertiseAddr
	if addr == "" {
		addr = listen
	}
	if addr == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		if c.AdvertiseAddr == "" {
			return addr, nil // a Listener that is not TCP has addresses of its own
		}
		return "", fmt.Errorf("mesh: advertise address: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "", fmt.Errorf("mesh: nobody can dial %s: set the advertise address to the one that other nodes reach", addr)
	}
	if port == "0" {
		if _, port, err = net.SplitHostPort(listen); err != nil {
			return "", fmt.Errorf("mesh: advertise address %s: the port it listens at is not known: %w", addr, err)
		}
	}
	return net.JoinHostPort(host, port), nil
}

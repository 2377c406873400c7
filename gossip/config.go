package gossip

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	metrics "github.com/hashicorp/go-metrics/compat"
	"github.com/hashicorp/memberlist"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Config says how a node gossips.
type Config struct {
	// Name is 1 to MaxName printable bytes; no two living nodes may share it.
	Name string
	// ID is the node's identity. A member keeps it for life.
	ID ring.ID
	// Boot must grow with each start of the same ID. 0 takes the wall clock in
	// nanoseconds, which is right for nodes that mint a new ID at each start.
	Boot uint64
	// Role is RoleMember or RoleClient.
	Role string
	// BindAddr is the host:port to listen on, UDP and TCP. Port 0 picks a free one.
	BindAddr string
	// AdvertiseAddr is the host:port that others are told, when it is not the
	// one that is bound (NAT, or a bind to every interface). Its host is
	// resolved once, at start. Port 0 is the bound port.
	AdvertiseAddr string
	// Seeds are host:port of nodes to call. New calls them in the background and
	// goes on until they answer.
	Seeds []string
	// Keys are of 16, 24 or 32 bytes for AES-128, 192 or 256. The first encrypts all
	// gossip, and what any of them encrypted is read; none are for no encryption. All
	// nodes must have the first of each other.
	Keys [][]byte
	// MeshAddr, HTTPAddr and Version are told to the others.
	MeshAddr, HTTPAddr, Version string
	// Returning is for a member that had an earlier life, until LetIn: see
	// Node.Returning.
	Returning bool
	// Expect is told to the others: how many members bootstrap waits for.
	Expect int
	// RingID and Epoch are what the node knows from its last run, if anything.
	RingID ring.RingID
	Epoch  uint64
	// Logger is where this package and memberlist log; nil for nowhere.
	Logger hclog.Logger
	// MetricLabels are put on all of memberlist's metrics and ours.
	MetricLabels []metrics.Label
	// RejoinInterval is how often to call those that are missed, give or take
	// half. 0 takes the profile's: local 1 s, lan 15 s, wan 30 s.
	RejoinInterval time.Duration
	// Profile is "local", "lan" or "wan": how fast failures are seen and how
	// slow a network is borne. Empty is local on a loopback address, else lan.
	Profile string
	// Events is called from one goroutine, in the order in which things were
	// seen, with each node that changed. While it does not return, further
	// changes of one node are folded into its latest state. It must not call
	// Close. nil for none. It is never called for the node itself.
	Events func(Node)
}

// resolveTimeout bounds the look-up of the names in BindAddr and AdvertiseAddr.
const resolveTimeout = 5 * time.Second

// hostPort is an address with its host resolved.
type hostPort struct {
	ip   net.IP
	port int
}

func (a hostPort) String() string { return net.JoinHostPort(a.ip.String(), strconv.Itoa(a.port)) }

// resolve reads host:port. memberlist takes only IP addresses, and would listen
// on every interface when given a name.
func resolve(what, addr string) (hostPort, error) {
	host, port, err := splitAddr(addr)
	if err != nil {
		return hostPort{}, fmt.Errorf("%s address %q: %w", what, addr, err)
	}
	if ip := net.ParseIP(host); ip != nil {
		return hostPort{ip, port}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", host)
	if err != nil {
		return hostPort{}, fmt.Errorf("%s address %q: %w", what, addr, err)
	}
	for _, ip := range ips {
		if ip.To4() != nil {
			return hostPort{ip, port}, nil
		}
	}
	return hostPort{ips[0], port}, nil
}

func splitAddr(addr string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if host == "" {
		return "", 0, fmt.Errorf("it names no host; write host:port")
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q; allowed are 0 to 65535", p)
	}
	return host, int(n), nil
}

// check says what is wrong with the parts of c that encodeMeta does not see.
func (c *Config) check() error {
	for _, key := range c.Keys {
		if memberlist.ValidateKey(key) != nil {
			return fmt.Errorf("a gossip key has %d bytes; allowed are 16, 24 and 32", len(key))
		}
	}
	if c.RejoinInterval < 0 {
		return fmt.Errorf("rejoin interval %s; it must not be negative", c.RejoinInterval)
	}
	for _, s := range c.Seeds {
		if _, port, err := splitAddr(s); err != nil {
			return fmt.Errorf("seed %q: %w", s, err)
		} else if port == 0 {
			return fmt.Errorf("seed %q: port 0 cannot be called", s)
		}
	}
	return nil
}

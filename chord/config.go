package chord

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// Role is what a node is in the ring.
type Role string

// The roles.
const (
	RoleMember Role = "member"
	RoleClient Role = "client"
)

// Config is what a Node is made of.
type Config struct {
	// Name is the node's name, unique among the living. Required.
	Name string
	// Role is RoleMember (default) or RoleClient.
	Role Role
	// DataDir is where a member keeps its data. Required unless Memory.
	DataDir string
	// Memory keeps a member's data in memory: all is lost when it stops, and it
	// returns as another member.
	Memory bool

	// GossipAddr is the host:port that gossip binds, UDP and TCP. Port 0 picks one.
	GossipAddr string
	// GossipAdvertise is what others are told; empty is what is bound.
	GossipAdvertise string
	// Seeds are the gossip addresses of nodes to meet.
	Seeds []string
	// GossipKeys are of 16, 24 or 32 bytes: the first encrypts gossip, and all others
	// must have it, first or not; none are for no encryption.
	GossipKeys [][]byte
	// GossipProfile is "local", "lan" or "wan"; empty is chosen by the address.
	GossipProfile string
	// MeshAddr is the host:port that the mesh binds. A client may leave it empty.
	MeshAddr string
	// MeshAdvertise is what others are told; empty is what is bound.
	MeshAdvertise string
	// MaxOutgoing bounds the mesh's dialled connections; 0 is its default.
	MaxOutgoing int
	// TLS protects the mesh, both ways; nil is plain TCP.
	TLS *tls.Config
	// HTTPAddr is told to others, for people.
	HTTPAddr string

	// Expect is how many members found a ring together; 0 never founds one. It
	// is ignored by a node that has a ring.
	Expect int
	// Replicas is the number of copies of a key, 1 to 5, of a ring that is to be
	// founded; 0 is 5. A ring that exists has its own, and a number that
	// contradicts it is refused.
	Replicas int
	// Tokens is at how many places the member stands on a ring that is to be
	// founded; 0 is 64.
	Tokens int

	// ReapAfter is how long a member may be gone before it is taken out of the ring;
	// 0 is 10 minutes, negative is never.
	ReapAfter time.Duration
	// SyncRate is how many bytes a second a member copies of what it is to own when
	// the ring changes; 0 is as many as callers hardly feel.
	SyncRate int
	// RepairRate is the same for the comparison of copies that always goes on; 0 is
	// 4 MiB.
	RepairRate int

	// MaxValueSize is the largest value in bytes; 0 is 8 MiB.
	MaxValueSize int
	// MaxClockDrift is how far another node's clock may be ahead; 0 is 10 minutes.
	MaxClockDrift time.Duration

	Logger hclog.Logger
	// Metrics may be nil.
	Metrics *metrics.Metrics
	// Version is told to others, for people.
	Version string

	wall func() time.Time // the wall clock; tests set it wrong
	txns txn.Config       // tests are in a hurry
	// lifetimes is the clock by which sessions and keys end, unless it is nil; tests
	// let it run fast. maxSessions is the constant, but in tests.
	lifetimes   func() time.Duration
	maxSessions int
	// forgetAge is how old a tombstone is before it is forgotten; tests are in a
	// hurry.
	forgetAge time.Duration
}

// maxMaxValueSize keeps a value, with what travels along, well inside a frame of
// the mesh and a batch of the store.
const maxMaxValueSize = 15 << 20

// minRate is the least rate of copying, in bytes a second.
const minRate = 1024

func (c *Config) setDefaults() error {
	if c.Role == "" {
		c.Role = RoleMember
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.wall == nil {
		c.wall = time.Now
	}
	if c.MaxValueSize == 0 {
		c.MaxValueSize = backend.DefaultMaxValueSize
	}
	if c.ReapAfter == 0 {
		c.ReapAfter = 10 * time.Minute
	}
	if c.forgetAge == 0 {
		c.forgetAge = defaultForgetAge
	}
	if c.maxSessions == 0 {
		c.maxSessions = maxSessions
	}
	if c.RepairRate == 0 {
		c.RepairRate = 4 << 20
	}
	if c.MaxClockDrift == 0 {
		c.MaxClockDrift = register.DefaultMaxDrift
	}
	switch {
	case c.Name == "":
		return fmt.Errorf("name: it is empty; give the node a name of its own")
	case c.Role != RoleMember && c.Role != RoleClient:
		return fmt.Errorf("role: it is %q; allowed are %q and %q", c.Role, RoleMember, RoleClient)
	case c.Role == RoleMember && c.DataDir == "" && !c.Memory:
		return fmt.Errorf("data_dir: it is empty; name a directory, or set memory to keep nothing")
	case c.Role == RoleClient && c.Expect > 0:
		return fmt.Errorf("expect: it is %d, but a client founds no ring; leave it out", c.Expect)
	case c.Role == RoleClient && len(c.Seeds) == 0:
		return fmt.Errorf("seeds: there are none; a client needs the gossip address of a member")
	case c.Role == RoleMember && c.Expect == 0 && len(c.Seeds) == 0 && c.Memory:
		return fmt.Errorf("expect: it is 0 and there are no seeds; say how many members found the ring, or whom to join")
	case c.Expect < 0 || c.Expect > ring.MaxMembers:
		return fmt.Errorf("expect: it is %d; allowed are 0 to %d", c.Expect, ring.MaxMembers)
	case c.Replicas < 0 || c.Replicas > ring.MaxReplicas:
		return fmt.Errorf("replicas: it is %d; allowed are 1 to %d", c.Replicas, ring.MaxReplicas)
	case c.Tokens < 0 || c.Tokens > ring.MaxTokens:
		return fmt.Errorf("tokens: it is %d; allowed are 1 to %d", c.Tokens, ring.MaxTokens)
	case c.SyncRate != 0 && c.SyncRate < minRate || c.RepairRate < minRate:
		return fmt.Errorf("sync_rate, repair_rate: they are %d and %d bytes a second; allowed are %d and more", c.SyncRate, c.RepairRate, minRate)
	case c.MaxValueSize < 1 || c.MaxValueSize > maxMaxValueSize:
		return fmt.Errorf("max_value_size: it is %d; allowed are 1 to %d bytes", c.MaxValueSize, maxMaxValueSize)
	case c.MaxClockDrift < time.Second || c.MaxClockDrift > 24*time.Hour:
		return fmt.Errorf("max_clock_drift: it is %v; allowed are 1s to 24h", c.MaxClockDrift)
	}
	return nil
}

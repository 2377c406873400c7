package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/chord"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// Setting is one thing that can be configured: as a flag, in a file, in the
// environment, and by a host. It is made in this package only; see Settings.
type Setting struct {
	// Key is its name in a file and in a host's map: data_dir. The flag is
	// -data-dir, the variable CHORD_DATA_DIR.
	Key string
	// def is the default; empty is to be not set, which fallback explains.
	def, fallback string
	// doc says what it is.
	doc string
	kind
}

// kind is what values a setting takes.
type kind struct {
	// allowed says it, for people, behind "allowed is".
	allowed string
	// set reads a value into c. The error may add to allowed.
	set func(c *Config, value string) error
	// Boolean: the flag needs no value. List: the flag may be repeated. secret:
	// the value is not shown in errors.
	Boolean, List, secret bool
}

// Flag is the name of the setting as a flag.
func (s *Setting) Flag() string { return strings.ReplaceAll(s.Key, "_", "-") }

// Variable is the name of the setting in the environment.
func (s *Setting) Variable() string { return Variable(s.Key) }

// Variable is the name of a setting in the environment.
func Variable(key string) string { return "CHORD_" + strings.ToUpper(key) }

// Usage is the setting's part of the help, with the kind of value in backquotes.
func (s *Setting) Usage() string {
	kind := "`VALUE`"
	if s.Boolean {
		kind = ""
	}
	def := s.fallback
	if def == "" {
		def = s.def
	}
	text := fmt.Sprintf("%s: %s.\nAllowed: %s.", kind, s.doc, s.allowed)
	text = strings.TrimPrefix(text, ": ")
	if def != "" {
		text += " Default: " + def + "."
	}
	return text
}

// leaveTimeout is how long a node that is told to stop may take to leave the ring
// first, with leave_on_stop.
const leaveTimeout = 10 * time.Minute

// maxSeeds bounds the seeds; a few are enough.
const maxSeeds = 64

// maxHosts bounds the names by which the HTTP API may be called.
const maxHosts = 64

// Settings are all settings, in the order in which help shows them.
var Settings = []*Setting{
	{Key: "config", kind: path(func(c *Config) *string { return &c.file }),
		doc: "an HCL file with these settings, as in: data_dir = \"/var/lib/chord\""},
	{Key: "name", kind: name(func(c *Config) *string { return &c.node.Name }), fallback: "the host name; for a client with a random end",
		doc: "the node's name, unique among those that live"},
	{Key: "role", def: string(chord.RoleMember), kind: choice(func(c *Config) *chord.Role { return &c.node.Role }, chord.RoleMember, chord.RoleClient),
		doc: "a member keeps keys, a client only uses them"},
	{Key: "data_dir", kind: path(func(c *Config) *string { return &c.node.DataDir }), fallback: "none, see memory",
		doc: "where a member keeps its data"},
	{Key: "memory", def: "false", kind: boolean(func(c *Config) *bool { return &c.node.Memory }), fallback: "true when none of data_dir, seeds and expect is set",
		doc: "keep a member's data in memory: it is lost when the member stops"},
	{Key: "gossip_addr", def: "127.0.0.1:7946", kind: address(func(c *Config) *string { return &c.node.GossipAddr }),
		doc: "where gossip listens, UDP and TCP"},
	{Key: "gossip_advertise", kind: address(func(c *Config) *string { return &c.node.GossipAdvertise }), fallback: "gossip_addr",
		doc: "where others reach it, when that is another address"},
	{Key: "gossip_key", kind: gossipKeys(), fallback: "none: gossip is not encrypted",
		doc: "encrypts gossip; the same at every node. chord-plugin keygen makes one. With several the first encrypts and all are read, to change it. Better not a flag: those can be seen"},
	{Key: "mesh_addr", def: "127.0.0.1:7947", kind: address(func(c *Config) *string { return &c.node.MeshAddr }),
		doc: "where the nodes' connections are taken, TCP"},
	{Key: "mesh_advertise", kind: address(func(c *Config) *string { return &c.node.MeshAdvertise }), fallback: "mesh_addr",
		doc: "where others reach it, when that is another address"},
	{Key: "http_addr", def: httpapi.DefaultAddr, kind: optionalAddress(func(c *Config) *string { return &c.httpAddr }),
		doc: "where the HTTP API listens; empty: nowhere"},
	{Key: "http_hosts", kind: list(maxHosts, "host names without ports", checkHost, func(c *Config) *[]string { return &c.httpHosts }), fallback: "none when http_addr is loopback, else any name",
		doc: "names by which the HTTP API may be called besides localhost, http_addr's host and IP addresses; others are refused, since a page in a browser can have its own name lead here"},
	{Key: "seeds", kind: list(maxSeeds, "addresses host:port", checkSeed, func(c *Config) *[]string { return &c.node.Seeds }),
		doc: "gossip addresses of nodes to meet; those of all members are best"},
	{Key: "expect", kind: integer(0, ring.MaxMembers, "", func(c *Config) *int { return &c.node.Expect }), fallback: "1 without seeds; with seeds 0, which never founds a ring",
		doc: "how many members found the ring together; the same at each of them. It plays no part once there is a ring"},
	{Key: "replicas", kind: integer(1, ring.MaxReplicas, "", func(c *Config) *int { return &c.node.Replicas }), fallback: "what the ring has; 5 when one is founded",
		doc: "how many copies of a key the ring keeps; the same at each founder"},
	{Key: "tokens", kind: integer(1, ring.MaxTokens, "", func(c *Config) *int { return &c.node.Tokens }), fallback: "what the ring has; 64 when one is founded",
		doc: "at how many places the member stands on the ring"},
	{Key: "leave_on_stop", def: "false", kind: boolean(func(c *Config) *bool { return &c.leaveOnStop }),
		doc: "leave the ring before stopping at a signal or when the host closes the plugin, for up to " + leaveTimeout.String() + "; else a member keeps its place"},
	{Key: "dead_member_reap_after", def: "10m", kind: reapAfter(),
		doc: "how long a member may be dead before it is taken out of the ring and its keys are copied to others"},
	{Key: "sync_rate", def: "auto", kind: rateOrAuto(func(c *Config) *int { return &c.node.SyncRate }),
		doc: "how many bytes a second a member copies of what it is to own when the ring changes; auto rests for six times as long as it works, so that callers hardly feel it"},
	{Key: "repair_rate", def: "4MiB", kind: rate(func(c *Config) *int { return &c.node.RepairRate }),
		doc: "how many bytes a second the comparison of copies takes at most, which always goes on"},
	{Key: "profile", kind: choice(func(c *Config) *string { return &c.node.GossipProfile }, "local", "lan", "wan"), fallback: "local when gossip_addr is loopback, else lan",
		doc: "the kind of network: how fast failures are seen, and how slow it may be"},
	{Key: "max_value_size", def: "8388608", kind: integer(1, 15<<20, " bytes", func(c *Config) *int { return &c.node.MaxValueSize }),
		doc: "the largest value in bytes; the same at every node"},
	{Key: "http_max_value_size", def: "524288", kind: integer(1, 15<<20, " bytes", func(c *Config) *int { return &c.httpMaxValueSize }),
		doc: "the largest value in bytes that the HTTP API takes, as in Consul; at most max_value_size counts"},
	{Key: "max_clock_drift", def: "10m", kind: clockDrift(),
		doc: "how far another node's clock may be ahead"},
	{Key: "max_outgoing", def: "64", kind: integer(1, 4096, "", func(c *Config) *int { return &c.node.MaxOutgoing }),
		doc: "how many nodes this one connects to; the others it reaches through them"},
	{Key: "log_level", def: "info", kind: choice(func(c *Config) *string { return &c.logLevel }, "trace", "debug", "info", "warn", "error", "off"),
		doc: "what is logged"},
	{Key: "log_json", def: "false", kind: boolean(func(c *Config) *bool { return &c.json }),
		doc: "log JSON. A plugin always does, for its host"},
	{Key: "tls_ca", kind: path(func(c *Config) *string { return &c.tlsCA }), fallback: "none: the mesh is not encrypted",
		doc: "the PEM file of the authority that signed the nodes' certificates, for the mesh. Give the ring a CA of its own: whoever has a certificate of it for clientAuth can be a member, and read and write everything"},
	{Key: "tls_cert", kind: path(func(c *Config) *string { return &c.tlsCert }),
		doc: "the PEM file of the node's certificate, for serverAuth and clientAuth. A renewed one is taken without a restart"},
	{Key: "tls_key", kind: path(func(c *Config) *string { return &c.tlsKey }),
		doc: "the PEM file of the certificate's key"},
	{Key: "insecure", def: "false", kind: boolean(func(c *Config) *bool { return &c.insecure }),
		doc: "listen beyond loopback although anybody there could read and write everything"},
}

// A Place is where a node runs, which decides what can be set and some defaults.
type Place uint8

// The places.
const (
	// Standalone is a process of the node's own.
	Standalone Place = iota
	// InPlugin is a process that a host has started.
	InPlugin
	// Embedded is the host's process.
	Embedded
)

// hostDefaults are the defaults that differ when a host has the node.
var hostDefaults = map[string]string{"gossip_addr": "127.0.0.1:0", "mesh_addr": "127.0.0.1:0", "http_addr": ""}

// Config is what the settings say.
type Config struct {
	node             chord.Config
	file             string
	httpAddr         string
	httpHosts        []string
	httpMaxValueSize int
	logLevel         string
	json             bool
	tlsCA            string
	tlsCert          string
	tlsKey           string
	certificate      *certificate // nil without
	insecure         bool
	leaveOnStop      bool

	place Place
	// from says where each setting comes from that is not a default.
	from map[string]string
}

// Name is the node's name.
func (c *Config) Name() string { return c.node.Name }

// Level is the level of the log lines that are wanted.
func (c *Config) Level() hclog.Level { return hclog.LevelFromString(c.logLevel) }

// JSON tells that they are wanted as JSON.
func (c *Config) JSON() bool { return c.json }

// given reports whether a setting was set, rather than left to its default.
func (c *Config) given(key string) bool { return c.from[key] != "" }

package main

import (
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/chord"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// setting is one thing that can be configured: as a flag, in a file, in the
// environment, and by a host.
type setting struct {
	// key is its name in a file and in a host's map: data_dir. The flag is
	// -data-dir, the variable CHORD_DATA_DIR.
	key string
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
	set func(c *config, value string) error
	// boolean: the flag needs no value. list: the flag may be repeated. secret:
	// the value is not shown in errors.
	boolean, list, secret bool
}

func (s *setting) flag() string     { return strings.ReplaceAll(s.key, "_", "-") }
func (s *setting) variable() string { return variable(s.key) }

// variable is the name of a setting in the environment.
func variable(key string) string { return "CHORD_" + strings.ToUpper(key) }

// maxSeeds bounds the seeds; a few are enough.
const maxSeeds = 64

// settings are all settings, in the order in which help shows them.
var settings = []*setting{
	{key: "config", kind: path(func(c *config) *string { return &c.file }),
		doc: "an HCL file with these settings, as in: data_dir = \"/var/lib/chord\""},
	{key: "name", kind: name(func(c *config) *string { return &c.node.Name }), fallback: "the host name; for a client with a random end",
		doc: "the node's name, unique among those that live"},
	{key: "role", def: string(chord.RoleMember), kind: choice(func(c *config) *chord.Role { return &c.node.Role }, chord.RoleMember, chord.RoleClient),
		doc: "a member keeps keys, a client only uses them"},
	{key: "data_dir", kind: path(func(c *config) *string { return &c.node.DataDir }), fallback: "none, see memory",
		doc: "where a member keeps its data"},
	{key: "memory", def: "false", kind: boolean(func(c *config) *bool { return &c.node.Memory }), fallback: "true when none of data_dir, seeds and expect is set",
		doc: "keep a member's data in memory: it is lost when the member stops"},
	{key: "gossip_addr", def: "127.0.0.1:7946", kind: address(func(c *config) *string { return &c.node.GossipAddr }),
		doc: "where gossip listens, UDP and TCP"},
	{key: "gossip_advertise", kind: address(func(c *config) *string { return &c.node.GossipAdvertise }), fallback: "gossip_addr",
		doc: "where others reach it, when that is another address"},
	{key: "gossip_key", kind: gossipKey(), fallback: "none: gossip is not encrypted",
		doc: "encrypts gossip; the same at every node. chord-plugin keygen makes one. Better not a flag: those can be seen"},
	{key: "mesh_addr", def: "127.0.0.1:7947", kind: address(func(c *config) *string { return &c.node.MeshAddr }),
		doc: "where the nodes' connections are taken, TCP"},
	{key: "mesh_advertise", kind: address(func(c *config) *string { return &c.node.MeshAdvertise }), fallback: "mesh_addr",
		doc: "where others reach it, when that is another address"},
	{key: "http_addr", def: httpapi.DefaultAddr, kind: optionalAddress(func(c *config) *string { return &c.httpAddr }),
		doc: "where the HTTP API listens; empty: nowhere"},
	{key: "seeds", kind: addresses(func(c *config) *[]string { return &c.node.Seeds }),
		doc: "gossip addresses of nodes to meet; those of all members are best"},
	{key: "expect", kind: integer(0, ring.MaxMembers, "", func(c *config) *int { return &c.node.Expect }), fallback: "1 without seeds; with seeds 0, which never founds a ring",
		doc: "how many members found the ring together; the same at each of them. It plays no part once there is a ring"},
	{key: "replicas", kind: integer(1, ring.MaxReplicas, "", func(c *config) *int { return &c.node.Replicas }), fallback: "what the ring has; 5 when one is founded",
		doc: "how many copies of a key the ring keeps; the same at each founder"},
	{key: "tokens", kind: integer(1, ring.MaxTokens, "", func(c *config) *int { return &c.node.Tokens }), fallback: "what the ring has; 64 when one is founded",
		doc: "at how many places the member stands on the ring"},
	{key: "leave_on_stop", def: "false", kind: boolean(func(c *config) *bool { return &c.leaveOnStop }),
		doc: "leave the ring before stopping at a signal or when the host closes the plugin, for up to " + leaveTimeout.String() + "; else a member keeps its place"},
	{key: "dead_member_reap_after", def: "10m", kind: reapAfter(),
		doc: "how long a member may be dead before it is taken out of the ring and its keys are copied to others"},
	{key: "sync_rate", def: "32MiB", kind: rate(func(c *config) *int { return &c.node.SyncRate }),
		doc: "how many bytes a second a member copies at most of what it is to own when the ring changes"},
	{key: "repair_rate", def: "4MiB", kind: rate(func(c *config) *int { return &c.node.RepairRate }),
		doc: "how many bytes a second the comparison of copies takes at most, which always goes on"},
	{key: "profile", kind: choice(func(c *config) *string { return &c.node.GossipProfile }, "local", "lan", "wan"), fallback: "local when gossip_addr is loopback, else lan",
		doc: "the kind of network: how fast failures are seen, and how slow it may be"},
	{key: "max_value_size", def: "8388608", kind: integer(1, 15<<20, " bytes", func(c *config) *int { return &c.node.MaxValueSize }),
		doc: "the largest value in bytes; the same at every node"},
	{key: "http_max_value_size", def: "524288", kind: integer(1, 15<<20, " bytes", func(c *config) *int { return &c.httpMaxValueSize }),
		doc: "the largest value in bytes that the HTTP API takes, as in Consul; at most max_value_size counts"},
	{key: "max_clock_drift", def: "10m", kind: clockDrift(),
		doc: "how far another node's clock may be ahead"},
	{key: "max_outgoing", def: "64", kind: integer(1, 4096, "", func(c *config) *int { return &c.node.MaxOutgoing }),
		doc: "how many nodes this one connects to; the others it reaches through them"},
	{key: "log_level", def: "info", kind: choice(func(c *config) *string { return &c.logLevel }, "trace", "debug", "info", "warn", "error", "off"),
		doc: "what is logged"},
	{key: "log_json", def: "false", kind: boolean(func(c *config) *bool { return &c.logJSON }),
		doc: "log JSON. A plugin always does, for its host"},
	{key: "tls_ca", kind: path(func(c *config) *string { return &c.tlsCA }), fallback: "none: the mesh is not encrypted",
		doc: "the PEM file of the authority that signed the nodes' certificates, for the mesh"},
	{key: "tls_cert", kind: path(func(c *config) *string { return &c.tlsCert }),
		doc: "the PEM file of the node's certificate, for servers and clients"},
	{key: "tls_key", kind: path(func(c *config) *string { return &c.tlsKey }),
		doc: "the PEM file of the certificate's key"},
	{key: "insecure", def: "false", kind: boolean(func(c *config) *bool { return &c.insecure }),
		doc: "listen beyond loopback although anybody there could read and write everything"},
}

// pluginDefaults are the defaults that differ in a plugin's process.
var pluginDefaults = map[string]string{"gossip_addr": "127.0.0.1:0", "mesh_addr": "127.0.0.1:0", "http_addr": ""}

// config is what the settings say.
type config struct {
	node             chord.Config
	file             string
	httpAddr         string
	httpMaxValueSize int
	logLevel         string
	logJSON          bool
	tlsCA            string
	tlsCert          string
	tlsKey           string
	insecure         bool
	leaveOnStop      bool

	// inPlugin: a host configures it.
	inPlugin bool
	// from says where each setting comes from that is not a default.
	from map[string]string
}

func (c *config) level() hclog.Level { return hclog.LevelFromString(c.logLevel) }

// given reports whether a setting was set, rather than left to its default.
func (c *config) given(key string) bool { return c.from[key] != "" }

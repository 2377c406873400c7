package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/chord"
	"github.com/chord-plugin/chord-plugin/gossip"
)

// complete derives what was not set and refuses what does not fit together.
func (c *Config) complete() error {
	if c.place != Standalone && !c.given("role") && len(c.node.Seeds) > 0 && !c.given("data_dir") && !c.given("memory") {
		c.node.Role = chord.RoleClient
	}
	client := c.node.Role == chord.RoleClient
	if !client && !c.given("expect") && len(c.node.Seeds) == 0 {
		c.node.Expect = 1
	}
	if c.alone() {
		c.node.Memory = true
	}
	if c.node.Name == "" {
		if err := c.inventName(); err != nil {
			return err
		}
	}
	switch {
	case client && len(c.node.Seeds) == 0:
		return errors.New("seeds: there are none; a client needs the gossip address of a member")
	case !client && c.node.DataDir == "" && !c.node.Memory:
		return errors.New("data_dir: it is not set; name a directory, or set memory = true to keep nothing")
	case c.node.DataDir != "" && c.node.Memory:
		return fmt.Errorf("data_dir: it is %q, and memory is true; leave one of them out", c.node.DataDir)
	case !client && c.node.Memory && c.node.Expect == 0 && len(c.node.Seeds) == 0:
		return errors.New("expect: it is 0 and there are no seeds; say how many members found the ring, or whom to join")
	case c.place != Standalone && c.given("log_json"):
		return fmt.Errorf("%s: a plugin hands its log to its host, which prints it; leave it out", c.from["log_json"])
	case c.place == Embedded && c.given("log_level"):
		return fmt.Errorf("%s: a node in the host's process logs at the host's level; leave it out", c.from["log_level"])
	}
	for _, key := range []string{"data_dir", "memory", "expect", "replicas", "tokens", "leave_on_stop", "dead_member_reap_after", "sync_rate", "repair_rate"} {
		if client && c.given(key) {
			return fmt.Errorf("%s: the role is client, which keeps no keys and founds no ring; leave %s out, or set role = \"member\"", c.from[key], key)
		}
	}
	if err := c.checkPorts(); err != nil {
		return err
	}
	if err := c.loadTLS(); err != nil {
		return err
	}
	return c.checkSafety()
}

// alone: nothing says where to keep data nor with whom, so that it is a ring of
// one member in memory, to try things out.
func (c *Config) alone() bool {
	return c.node.Role == chord.RoleMember && !c.given("data_dir") && !c.given("memory") && !c.given("seeds") && !c.given("expect")
}

// clientSuffix is how many random bytes end the name of a client, of which one
// machine may run many.
const clientSuffix = 4

func (c *Config) inventName() error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name: it is not set, and the host name is not to be had: %w", err)
	}
	suffix := ""
	if c.node.Role == chord.RoleClient {
		b := make([]byte, clientSuffix)
		rand.Read(b) // never fails; see crypto/rand
		suffix = "-" + hex.EncodeToString(b)
	}
	c.node.Name = host[:min(len(host), gossip.MaxName-len(suffix))] + suffix
	return nil
}

// listeners are the settings that say where the process listens.
func (c *Config) listeners() map[string]string {
	return map[string]string{"gossip_addr": c.node.GossipAddr, "mesh_addr": c.node.MeshAddr, "http_addr": c.httpAddr}
}

func (c *Config) checkPorts() error {
	for _, pair := range [][2]string{{"gossip_addr", "mesh_addr"}, {"gossip_addr", "http_addr"}, {"mesh_addr", "http_addr"}} {
		a, b := c.listeners()[pair[0]], c.listeners()[pair[1]]
		if a != "" && a == b && !strings.HasSuffix(a, ":0") {
			return fmt.Errorf("%s: it is %q, and so is %s; give each a port of its own", pair[1], a, pair[0])
		}
	}
	return nil
}

// checkSafety refuses to listen beyond loopback without protection.
func (c *Config) checkSafety() error {
	if open := c.Unprotected(); len(open) > 0 && !c.insecure {
		return fmt.Errorf("%s; or set insecure = true if nobody else can reach the network", strings.Join(open, "; "))
	}
	return nil
}

// Unprotected says what listens beyond loopback without protection, and what to
// do about it.
func (c *Config) Unprotected() []string {
	var open []string
	gossips, meshes := !loopback(c.node.GossipAddr), !loopback(c.node.MeshAddr)
	if (gossips || meshes) && len(c.node.GossipKeys) == 0 {
		open = append(open, fmt.Sprintf("gossip_key: it is not set, and gossip_addr %s or mesh_addr %s is not loopback: anybody there could join the ring; set the same gossip_key at every node (chord-plugin keygen makes one)", c.node.GossipAddr, c.node.MeshAddr))
	}
	if (gossips || meshes) && c.node.TLS == nil {
		open = append(open, fmt.Sprintf("tls_ca: it is not set, and gossip_addr %s or mesh_addr %s is not loopback: anybody there could read and write every key; set tls_ca, tls_cert and tls_key", c.node.GossipAddr, c.node.MeshAddr))
	}
	if c.httpAddr != "" && !loopback(c.httpAddr) {
		open = append(open, fmt.Sprintf("http_addr: it is %s, which is not loopback, and the HTTP API asks nobody who he is; listen at loopback", c.httpAddr))
	}
	return open
}

// hosts are the names by which the HTTP API may be called; none is any.
func (c *Config) hosts() []string {
	if len(c.httpHosts) == 0 && !loopback(c.httpAddr) {
		return nil
	}
	host, _, _ := net.SplitHostPort(c.httpAddr) // checked by its kind
	return append([]string{host}, c.httpHosts...)
}

// resolveTimeout bounds the look-up of a host name.
const resolveTimeout = 5 * time.Second

// loopback reports whether only this machine reaches an address. A name that
// can not be looked up may be anything.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", host)
	if err != nil {
		return false
	}
	for _, ip := range ips {
		if !ip.IsLoopback() {
			return false
		}
	}
	return len(ips) > 0
}

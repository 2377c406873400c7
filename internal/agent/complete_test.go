package agent

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord"
	"github.com/chord-plugin/chord-plugin/internal/certificates"
)

// settle loads what a host gives, as an agent's or as a plugin's configuration.
func settle(t *testing.T, place Place, values map[string]string) *Config {
	t.Helper()
	c, err := Load(fromHost(values), nil, place)
	require.NoError(t, err)
	return c
}

func TestDerived(t *testing.T) {
	c := settle(t, Standalone, map[string]string{"data_dir": "d"})
	require.Equal(t, 1, c.node.Expect, "without seeds there is nobody else")
	require.False(t, c.node.Memory)

	c = settle(t, Standalone, map[string]string{"data_dir": "d", "seeds": "127.0.0.1:1"})
	require.Zero(t, c.node.Expect, "with seeds it joins")

	c = settle(t, Standalone, map[string]string{"role": "client", "seeds": "127.0.0.1:1"})
	require.Zero(t, c.node.Expect)
	require.False(t, c.node.Memory)
	other := settle(t, Standalone, map[string]string{"role": "client", "seeds": "127.0.0.1:1"})
	require.NotEqual(t, other.node.Name, c.node.Name, "a machine may run many clients")
	require.LessOrEqual(t, len(c.node.Name), 64)

	c = settle(t, InPlugin, nil)
	require.Equal(t, chord.RoleMember, c.node.Role)
	require.True(t, c.node.Memory)
	require.Equal(t, 1, c.node.Expect)
	require.Equal(t, "127.0.0.1:0", c.node.GossipAddr)
	require.Equal(t, "127.0.0.1:0", c.node.MeshAddr)
	require.Empty(t, c.httpAddr)

	c = settle(t, InPlugin, map[string]string{"seeds": "127.0.0.1:1"})
	require.Equal(t, chord.RoleClient, c.node.Role, "a plugin with seeds and nowhere to keep data")

	c = settle(t, InPlugin, map[string]string{"seeds": "127.0.0.1:1", "data_dir": "d"})
	require.Equal(t, chord.RoleMember, c.node.Role)
	c = settle(t, InPlugin, map[string]string{"seeds": "127.0.0.1:1", "memory": "true"})
	require.Equal(t, chord.RoleMember, c.node.Role)
}

func TestContradictions(t *testing.T) {
	for _, test := range []struct {
		name   string
		place  Place
		values map[string]string
		want   string
	}{
		{"nowhere to keep data", Standalone, map[string]string{"seeds": "a:1"}, "data_dir: it is not set"},
		{"nowhere to keep data, said", Standalone, map[string]string{"memory": "false"}, "data_dir: it is not set"},
		{"two places", Standalone, map[string]string{"data_dir": "d", "memory": "true"}, "leave one of them out"},
		{"nobody to found with", Standalone, map[string]string{"memory": "true", "expect": "0"}, "expect: it is 0 and there are no seeds"},
		{"client alone", Standalone, map[string]string{"role": "client"}, "seeds: there are none"},
		{"client with data", Standalone, map[string]string{"role": "client", "seeds": "a:1", "data_dir": "d"}, "data_dir: the role is client"},
		{"client in memory", Standalone, map[string]string{"role": "client", "seeds": "a:1", "memory": "true"}, "memory: the role is client"},
		{"client that founds", Standalone, map[string]string{"role": "client", "seeds": "a:1", "expect": "3"}, "expect: the role is client"},
		{"client with replicas", InPlugin, map[string]string{"seeds": "a:1", "replicas": "3"}, "replicas: the role is client"},
		{"client with tokens", InPlugin, map[string]string{"seeds": "a:1", "tokens": "3"}, "tokens: the role is client"},
		{"client that leaves", InPlugin, map[string]string{"seeds": "a:1", "leave_on_stop": "true"}, "leave_on_stop: the role is client"},
		{"client that reaps", Standalone, map[string]string{"role": "client", "seeds": "a:1", "dead_member_reap_after": "1h"}, "dead_member_reap_after: the role is client"},
		{"client that copies", InPlugin, map[string]string{"seeds": "a:1", "sync_rate": "1MiB"}, "sync_rate: the role is client"},
		{"client that repairs", InPlugin, map[string]string{"seeds": "a:1", "repair_rate": "1MiB"}, "repair_rate: the role is client"},
		{"plugin's log", InPlugin, map[string]string{"log_json": "true"}, "log_json: a plugin hands its log to its host"},
		{"embedded node's log", Embedded, map[string]string{"log_json": "true"}, "log_json: a plugin hands its log to its host"},
		{"embedded node's level", Embedded, map[string]string{"log_level": "warn"}, "log_level: a node in the host's process logs at the host's level"},
		{"one port for gossip and mesh", Standalone, map[string]string{"mesh_addr": "127.0.0.1:7946"}, `mesh_addr: it is "127.0.0.1:7946", and so is gossip_addr`},
		{"one port for mesh and HTTP", Standalone, map[string]string{"http_addr": "127.0.0.1:7947"}, `http_addr: it is "127.0.0.1:7947", and so is mesh_addr`},
		{"half of TLS", Standalone, map[string]string{"tls_ca": "x", "tls_cert": "y"}, "tls_key: it is not set; the mesh needs all of"},
		{"TLS that is not there", Standalone, map[string]string{"tls_ca": "none", "tls_cert": "none", "tls_key": "none"}, "tls_ca: open none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Load(fromHost(test.values), nil, test.place)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestTLSFiles(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, certificates.Write(dir))
	empty := filepath.Join(dir, "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	_, err := Load(fromHost(map[string]string{"tls_ca": empty, "tls_cert": cert, "tls_key": key}), nil, Standalone)
	require.ErrorContains(t, err, "tls_ca: there is no certificate in "+empty)
	_, err = Load(fromHost(map[string]string{"tls_ca": ca, "tls_cert": ca, "tls_key": key}), nil, Standalone)
	require.ErrorContains(t, err, "tls_cert and tls_key: ")
}

func TestSafety(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, certificates.Write(dir))
	with := func(more ...string) map[string]string {
		values := map[string]string{}
		for i := 0; i < len(more); i += 2 {
			values[more[i]] = more[i+1]
		}
		return values
	}
	tls := []string{"tls_ca", filepath.Join(dir, "ca.pem"), "tls_cert", filepath.Join(dir, "cert.pem"), "tls_key", filepath.Join(dir, "key.pem")}
	const noKey, noTLS, openHTTP = "gossip_key: it is not set", "tls_ca: it is not set", "the HTTP API asks nobody who he is"
	for _, test := range []struct {
		name      string
		values    map[string]string
		want, not []string
	}{
		{"loopback", with("gossip_addr", "localhost:1", "mesh_addr", "[::1]:2", "http_addr", "127.9.9.9:3"), nil, nil},
		{"gossip", with("gossip_addr", "10.0.0.1:1"), []string{noKey, noTLS}, []string{openHTTP}},
		{"mesh", with("mesh_addr", "0.0.0.0:1"), []string{noKey, noTLS}, []string{openHTTP}},
		{"no TLS", with("gossip_addr", "10.0.0.1:1", "gossip_key", key32), []string{noTLS}, []string{noKey, openHTTP}},
		{"no key", with(append(tls, "mesh_addr", "10.0.0.1:1")...), []string{noKey}, []string{noTLS, openHTTP}},
		{"protected", with(append(tls, "mesh_addr", "10.0.0.1:1", "gossip_addr", "10.0.0.1:2", "gossip_key", key32)...), nil, nil},
		{"HTTP", with(append(tls, "http_addr", "[::]:1", "gossip_key", key32)...), []string{openHTTP}, []string{noKey, noTLS}},
		{"no HTTP", with("http_addr", ""), nil, nil},
		{"a name that is nowhere", with("http_addr", "nowhere.invalid:1"), []string{openHTTP}, nil},
		{"insecure", with("gossip_addr", "10.0.0.1:1", "http_addr", "10.0.0.1:2", "insecure", "true"), nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Load(fromHost(test.values), nil, Standalone)
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			for _, want := range append(test.want, "insecure = true") {
				require.ErrorContains(t, err, want)
			}
			for _, not := range test.not {
				require.NotContains(t, err.Error(), not)
			}
		})
	}
	c := settle(t, Standalone, with("gossip_addr", "10.0.0.1:1", "http_addr", "10.0.0.1:2", "insecure", "true"))
	require.Len(t, c.Unprotected(), 3, "what is open is logged")
}

// TestHosts: an API on loopback is called by the names of this machine only.
func TestHosts(t *testing.T) {
	for _, test := range []struct {
		addr, names string
		want        []string
	}{
		{"127.0.0.1:8500", "", []string{"127.0.0.1"}},
		{"localhost:8500", "node1.example", []string{"localhost", "node1.example"}},
		{"10.0.0.1:8500", "", nil},
		{"10.0.0.1:8500", "node1.example", []string{"10.0.0.1", "node1.example"}},
	} {
		values := map[string]string{"http_addr": test.addr, "insecure": "true"}
		if test.names != "" {
			values["http_hosts"] = test.names
		}
		require.Equal(t, test.want, settle(t, Standalone, values).hosts(), test.addr)
	}
}

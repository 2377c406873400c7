package mesh

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/internal/certificates"
)

// authority signs certificates.
type authority struct{ *certificates.Authority }

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a, err := certificates.NewAuthority()
	require.NoError(t, err)
	return &authority{a}
}

// config is the TLS of a node whose certificate this authority signed.
func (ca *authority) config(t *testing.T, ip string) *tls.Config {
	t.Helper()
	der, key, err := ca.Issue(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP(ip)} })
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: pool, ClientCAs: pool}
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	cfgA, cfgB := testConfig("a"), testConfig("b")
	cfgA.TLS, cfgB.TLS = ca.config(t, "127.0.0.1"), ca.config(t, "127.0.0.1")
	a, b := pair(t, cfgA, cfgB, echo)
	var p point
	require.NoError(t, a.Call(withTimeout(t, time.Minute), b.node, typeEcho, &point{X: 1, Value: make([]byte, 1<<20)}, &p))
	require.IsType(t, new(tls.Conn), a.RoutingTable()[b.cfg.ID].nc)
}

// TestTLSRefused: each side checks the other, and says what is wrong.
func TestTLSRefused(t *testing.T) {
	ca, wrong := newAuthority(t), newAuthority(t)
	trusting := wrong.config(t, "127.0.0.1")
	trusting.RootCAs = ca.config(t, "127.0.0.1").RootCAs
	for _, tc := range []struct {
		name           string
		client, server *tls.Config
		atA, atB       string
	}{
		{"client of another authority", trusting, ca.config(t, "127.0.0.1"), "tls: ", "unknown authority"},
		{"server of another authority", ca.config(t, "127.0.0.1"), wrong.config(t, "127.0.0.1"), "unknown authority", "bad certificate"},
		{"server under another name", ca.config(t, "127.0.0.1"), ca.config(t, "127.0.0.2"), "127.0.0.2", "bad certificate"},
		{"plain client", nil, ca.config(t, "127.0.0.1"), "it may want TLS", "does not look like a TLS handshake"},
		{"plain server", ca.config(t, "127.0.0.1"), nil, "TLS", "it speaks TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var logA, logB logBuffer
			a, b := testConfig("a"), testConfig("b")
			a.Logger, b.Logger, a.TLS, b.TLS = logA.logger(), logB.logger(), tc.client, tc.server
			mb := newMesh(t, b)
			ma := newMesh(t, a)
			ma.HandlePeers([]Peer{mb.self()})
			eventually(t, func() bool { return contains(logB.String(), "refused", tc.atB) }, "the listener says: "+tc.atB)
			eventually(t, func() bool { return contains(fmt.Sprint(ma.Awaiting()), tc.atA) }, "the dialler says: "+tc.atA)
			require.Empty(t, ma.RoutingTable())
			require.Empty(t, mb.RoutingTable())
		})
	}
}

func TestTLSConfigMistakes(t *testing.T) {
	ca := newAuthority(t)
	for name, edit := range map[string]func(*tls.Config){
		"InsecureSkipVerify": func(c *tls.Config) { c.InsecureSkipVerify = true },
		"RootCAs":            func(c *tls.Config) { c.RootCAs = nil },
		"ClientCAs":          func(c *tls.Config) { c.ClientCAs = nil },
		"certificate":        func(c *tls.Config) { c.Certificates = nil },
	} {
		cfg := Config{ID: ring.NodeID([]byte("x")), Role: RoleMember, BindAddr: "127.0.0.1:0", TLS: ca.config(t, "127.0.0.1")}
		edit(cfg.TLS)
		_, err := New(cfg)
		require.ErrorContains(t, err, name)
	}
}

package mesh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert, key}
}

// config is the TLS of a node whose certificate this authority signed.
func (ca *authority) config(t *testing.T, ip string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, IPAddresses: []net.IP{net.ParseIP(ip)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
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

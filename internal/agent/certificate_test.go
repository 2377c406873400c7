package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/internal/certificates"
)

// issuer is an authority of a test, whose files are in dir.
type issuer struct {
	*certificates.Authority
	dir string
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	a, err := certificates.NewAuthority()
	require.NoError(t, err)
	i := &issuer{a, t.TempDir()}
	require.NoError(t, i.WriteAuthority(i.dir))
	return i
}

// issue writes a node's certificate that holds from now, with the changes of change.
func (i *issuer) issue(t *testing.T, serial int64, lasts time.Duration, change func(*x509.Certificate)) {
	t.Helper()
	require.NoError(t, i.WriteNode(i.dir, func(c *x509.Certificate) {
		c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(serial), time.Now().Add(-time.Second), time.Now().Add(lasts)
		if change != nil {
			change(c)
		}
	}))
}

// settings are those of a node with these files.
func (i *issuer) settings(more ...string) map[string]string {
	values := map[string]string{
		"tls_ca": filepath.Join(i.dir, "ca.pem"), "tls_cert": filepath.Join(i.dir, "cert.pem"), "tls_key": filepath.Join(i.dir, "key.pem"),
	}
	for k := 0; k < len(more); k += 2 {
		values[more[k]] = more[k+1]
	}
	return values
}

const year = 365 * 24 * time.Hour

// TestCertificateIsChecked: a certificate with which nobody would let the node in is
// refused at the start, with what to do.
func TestCertificateIsChecked(t *testing.T) {
	usage := func(all ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = all }
	}
	client := []string{"role", "client", "seeds", "127.0.0.1:1"}
	for _, test := range []struct {
		name   string
		lasts  time.Duration
		change func(*x509.Certificate)
		more   []string
		want   string
	}{
		{"good", year, nil, nil, ""},
		{"expired", -time.Minute, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(-time.Hour) }, nil, "renew it, or set this machine's clock"},
		{"not yet valid", year, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, nil, "renew it, or set this machine's clock"},
		{"for servers only", year, usage(x509.ExtKeyUsageServerAuth), nil, "have it made for both serverAuth and clientAuth"},
		{"for clients only", year, usage(x509.ExtKeyUsageClientAuth), nil, "have it made for both serverAuth and clientAuth"},
		{"a client's for clients only", year, usage(x509.ExtKeyUsageClientAuth), client, ""},
		{"a client's for servers only", year, usage(x509.ExtKeyUsageServerAuth), client, "have it made for clientAuth"},
		{"for anything", year, usage(), nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := newIssuer(t)
			i.issue(t, 7, test.lasts, test.change)
			_, err := Load(fromHost(i.settings(test.more...)), nil, Standalone)
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "tls_cert: "+filepath.Join(i.dir, "cert.pem"))
			require.ErrorContains(t, err, test.want)
		})
	}
	mine, other := newIssuer(t), newIssuer(t)
	mine.issue(t, 7, year, nil)
	_, err := Load(fromHost(mine.settings("tls_ca", filepath.Join(other.dir, "ca.pem"))), nil, Standalone)
	require.ErrorContains(t, err, "have it signed by the authority in tls_ca")
}

// shown returns the serial numbers that the two ends of a handshake show each other
// with a node's configuration.
func shown(t *testing.T, c *Config) (server, client int64) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	conf := c.node.TLS.Clone()
	conf.ClientAuth, conf.ServerName = tls.RequireAndVerifyClientCert, "127.0.0.1" // as the mesh does
	answers, asks := tls.Server(a, conf), tls.Client(b, conf)
	done := make(chan error, 1)
	go func() { done <- answers.HandshakeContext(t.Context()) }()
	require.NoError(t, asks.HandshakeContext(t.Context()))
	require.NoError(t, <-done)
	return asks.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), answers.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// TestRenewedCertificate renews the files under a node that runs: what is whole and
// good is shown in the next handshake, and until then the one before. Time is that
// of the bubble, which begins in the year 2000.
func TestRenewedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.issue(t, 7, 10*24*time.Hour, nil)
		c, err := Load(fromHost(i.settings()), nil, Standalone)
		require.NoError(t, err)
		var mu sync.Mutex // of log
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { c.certificate.watch(ctx, hclog.New(&hclog.LoggerOptions{Output: &log, Mutex: &mu})) })
		after := func(d time.Duration) (said string) {
			<-time.After(d)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			defer log.Reset()
			return log.String()
		}
		serves := func(serial int64) {
			t.Helper()
			server, client := shown(t, c)
			require.Equal(t, serial, server)
			require.Equal(t, serial, client)
		}
		serves(7)
		require.Empty(t, after(time.Hour))

		i.issue(t, 8, 100*24*time.Hour, nil)
		require.Contains(t, after(certificateLook), "took the renewed certificate")
		serves(8)

		// One that is being written, one of another authority, none.
		good, err := os.ReadFile(filepath.Join(i.dir, "key.pem"))
		require.NoError(t, err)
		i.issue(t, 9, year, nil)
		require.NoError(t, os.WriteFile(filepath.Join(i.dir, "key.pem"), good, 0o600))
		require.Contains(t, after(certificateLook), "private key does not match public key")
		require.Empty(t, after(10*certificateLook), "once is enough")
		serves(8)
		other := newIssuer(t)
		other.dir = i.dir
		other.issue(t, 10, year, nil)
		require.Contains(t, after(certificateLook), "have it signed by the authority in tls_ca")
		serves(8)
		require.NoError(t, os.Remove(filepath.Join(i.dir, "cert.pem")))
		require.Contains(t, after(certificateLook), "no such file")
		serves(8)
		require.Contains(t, after(certificateNag), "no such file", "but once a day")
		i.issue(t, 9, 40*24*time.Hour, nil)
		require.Contains(t, after(certificateLook), "took the renewed certificate")
		serves(9)

		// It is told ahead, and when it is too late.
		require.Empty(t, after(29*24*time.Hour))
		require.Contains(t, after(3*24*time.Hour), "expires at")
		require.Contains(t, after(8*24*time.Hour), "no connection can be made any more")
		other.issue(t, 10, year, nil)
		said := after(certificateLook)
		require.Contains(t, said, "have it signed by the authority in tls_ca")
		require.Contains(t, said, "no connection can be made any more")
		i.issue(t, 11, year, nil)
		require.Contains(t, after(certificateLook), "took the renewed certificate")
		serves(11)
		cancel()
		wg.Wait()
	})
}

// TestNodeWatchesItsCertificate: a node that runs is what looks.
func TestNodeWatchesItsCertificate(t *testing.T) {
	i := newIssuer(t)
	i.issue(t, 7, year, nil)
	c, err := Load(fromHost(i.settings()), nil, InPlugin)
	require.NoError(t, err)
	i.issue(t, 8, year, nil)
	m, err := NewMeasures(InPlugin)
	require.NoError(t, err)
	n, err := Open(c, hclog.NewNullLogger(), m, "test")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return c.certificate.current.Load().Leaf.SerialNumber.Int64() == 8 }, 20*time.Second, time.Millisecond)
	require.NoError(t, n.Close())
}

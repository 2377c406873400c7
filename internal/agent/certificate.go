package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/chord"
)

const (
	// certificateLook is how often a node looks whether its certificate was renewed.
	certificateLook = time.Minute
	// certificateNag is how often it says the same about it.
	certificateNag = 24 * time.Hour
	// certificateAhead is how long before the end of its certificate it begins to;
	// for one that lasts less than eight weeks, a quarter of that.
	certificateAhead = 14 * 24 * time.Hour
)

// certificate is the node's, for the mesh. A renewed one is taken from its files
// without a restart; that of the authority is read once.
type certificate struct {
	authorityFile, file, keyFile string

	authority *x509.CertPool
	usages    []x509.ExtKeyUsage // it needs all of them
	current   atomic.Pointer[tls.Certificate]
	ends      time.Time // of current; watch's, once it runs
}

// loadTLS reads the certificates of the mesh.
func (c *Config) loadTLS() error {
	files := map[string]string{"tls_ca": c.tlsCA, "tls_cert": c.tlsCert, "tls_key": c.tlsKey}
	missing := ""
	for _, key := range []string{"tls_ca", "tls_cert", "tls_key"} {
		if files[key] == "" {
			missing = key
		}
	}
	if c.tlsCA == "" && c.tlsCert == "" && c.tlsKey == "" {
		return nil
	}
	if missing != "" {
		return fmt.Errorf("%s: it is not set; the mesh needs all of tls_ca, tls_cert and tls_key, or none", missing)
	}
	authority, err := readBounded(c.tlsCA)
	if err != nil {
		return fmt.Errorf("tls_ca: %w", err)
	}
	own := &certificate{
		authorityFile: c.tlsCA, file: c.tlsCert, keyFile: c.tlsKey,
		authority: x509.NewCertPool(), usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if c.node.Role == chord.RoleMember {
		own.usages = append(own.usages, x509.ExtKeyUsageServerAuth) // nobody dials a client
	}
	if !own.authority.AppendCertsFromPEM(authority) {
		return fmt.Errorf("tls_ca: there is no certificate in %s; allowed is a PEM file", c.tlsCA)
	}
	if _, err := own.read(time.Now()); err != nil {
		return err
	}
	c.certificate, c.node.TLS = own, own.config()
	return nil
}

// config is what the mesh uses.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
		RootCAs:              c.authority, ClientCAs: c.authority, MinVersion: tls.VersionTLS12,
	}
}

// read takes the certificate that is in the files, if it is a new one and the other
// nodes will let it in.
func (c *certificate) read(now time.Time) (renewed bool, err error) {
	text, err := readBounded(c.file)
	if err != nil {
		return false, fmt.Errorf("tls_cert: %w", err)
	}
	key, err := readBounded(c.keyFile)
	if err != nil {
		return false, fmt.Errorf("tls_key: %w", err)
	}
	pair, err := tls.X509KeyPair(text, key)
	if err != nil {
		return false, fmt.Errorf("tls_cert and tls_key: %s, %s: %w", c.file, c.keyFile, err)
	}
	if was := c.current.Load(); was != nil && bytes.Equal(was.Certificate[0], pair.Certificate[0]) {
		return false, nil
	}
	ends, err := c.check(&pair, now)
	if err != nil {
		return false, fmt.Errorf("tls_cert: %s: %w", c.file, err)
	}
	c.ends = ends
	c.current.Store(&pair)
	return true, nil
}

// check verifies a certificate as the other nodes do, and returns when it, or what
// it was signed with, expires.
func (c *certificate) check(pair *tls.Certificate, now time.Time) (ends time.Time, err error) {
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return ends, err
		}
		between.AddCert(cert)
	}
	for _, usage := range c.usages {
		chains, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: c.authority, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
		if err != nil {
			return ends, c.explain(err)
		}
		ends = time.Time{}
		for _, chain := range chains {
			first := chain[0].NotAfter
			for _, cert := range chain[1:] {
				if cert.NotAfter.Before(first) {
					first = cert.NotAfter
				}
			}
			if first.After(ends) {
				ends = first
			}
		}
	}
	return ends, nil
}

// explain says what to do about a certificate that is not one for the mesh.
func (c *certificate) explain(err error) error {
	var invalid x509.CertificateInvalidError
	errors.As(err, &invalid)
	switch {
	case invalid.Cert != nil && invalid.Reason == x509.Expired:
		return fmt.Errorf("the certificate of %q holds from %s to %s, which is not now; renew it, or set this machine's clock",
			invalid.Cert.Subject, invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case invalid.Cert != nil && invalid.Reason == x509.IncompatibleUsage && len(c.usages) == 1:
		return fmt.Errorf("%w; have it made for clientAuth, with which a client shows it", err)
	case invalid.Cert != nil && invalid.Reason == x509.IncompatibleUsage:
		return fmt.Errorf("%w; have it made for both serverAuth and clientAuth: a member dials and is dialled", err)
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return fmt.Errorf("%w; have it signed by the authority in tls_ca, %s. Certificates between the two belong into the same file, after it", err, c.authorityFile)
	}
	return err
}

// look takes a renewed certificate, and says what is wrong with the one in use, or
// soon will be.
func (c *certificate) look(now time.Time) (renewed bool, err error) {
	if renewed, err = c.read(now); err != nil {
		err = fmt.Errorf("what is in the files now is not taken: %w", err)
	}
	leaf := c.current.Load().Leaf
	var old error
	switch left := c.ends.Sub(now); {
	case left <= 0:
		old = fmt.Errorf("tls_cert: %s expired at %s: no connection can be made any more; renew it, and it is taken within a minute", c.file, c.ends.UTC().Format(time.RFC3339))
	case left < min(certificateAhead, leaf.NotAfter.Sub(leaf.NotBefore)/4):
		old = fmt.Errorf("tls_cert: %s expires at %s; renew it, and it is taken within a minute", c.file, c.ends.UTC().Format(time.RFC3339))
	}
	return renewed, errors.Join(err, old)
}

// watch looks until ctx ends, and logs what there is to say.
func (c *certificate) watch(ctx context.Context, log hclog.Logger) {
	tick := time.NewTicker(certificateLook)
	defer tick.Stop()
	said, at := "", time.Time{}
	for {
		now := time.Now()
		renewed, err := c.look(now)
		if renewed {
			log.Info("took the renewed certificate for the mesh", "expires", c.ends)
		}
		switch {
		case err == nil:
			said = ""
		case err.Error() != said || now.Sub(at) >= certificateNag:
			log.Warn("the certificate for the mesh", "because", err)
			said, at = err.Error(), now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

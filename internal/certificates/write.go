// Package certificates makes those that tests use.
package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Authority signs the certificates of nodes.
type Authority struct {
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority that holds for ten years.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err = x509.ParseCertificate(der)
	return &Authority{cert, key}, err
}

// Issue makes a node's certificate for 127.0.0.1 that holds for an hour, with the changes
// of change, which may be nil.
func (a *Authority) Issue(change func(*x509.Certificate)) (der []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(cert)
	}
	der, err = x509.CreateCertificate(rand.Reader, cert, a.Cert, &key.PublicKey, a.key)
	return der, key, err
}

// WriteAuthority writes ca.pem to dir, which it makes if need be.
func (a *Authority) WriteAuthority(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return write(dir, "ca.pem", "CERTIFICATE", a.Cert.Raw)
}

// WriteNode writes what Issue makes to dir: cert.pem and key.pem.
func (a *Authority) WriteNode(dir string, change func(*x509.Certificate)) error {
	der, key, err := a.Issue(change)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(write(dir, "cert.pem", "CERTIFICATE", der), write(dir, "key.pem", "EC PRIVATE KEY", keyDER))
}

func write(dir, name, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// Write makes an authority and a certificate of it, and writes both to dir.
func Write(dir string) error {
	a, err := NewAuthority()
	if err != nil {
		return err
	}
	if err := a.WriteAuthority(dir); err != nil {
		return err
	}
	return a.WriteNode(dir, nil)
}

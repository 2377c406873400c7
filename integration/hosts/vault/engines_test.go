package vault

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/integration/cluster"
	"github.com/chord-plugin/chord-plugin/integration/hosts/vault/fleet"
)

const (
	// plain is what transit encrypts.
	plain = "what nobody else should read"
	// policy is that of the user.
	policy = `path "` + fleet.KV + `/data/app/*" { capabilities = ["create", "update", "read"] }`
	// shortTTL is that of a token that ends by itself.
	shortTTL = 3 * time.Second
)

type object = map[string]any

// engines asks every server in turn for what the engines do, so that most of it is
// forwarded.
func engines(s *stage) {
	s.secrets()
	s.transit()
	s.pki()
	s.userpass()
	s.leases()
}

// at returns a server, another one each time.
func (s *stage) at() *fleet.Server {
	s.turn++
	return s.Servers[s.turn%len(s.Servers)]
}

func (s *stage) secrets() {
	const path = fleet.KV + "/data/app/db"
	for n := 1; n <= 3; n++ {
		a := s.ok(s.at(), http.MethodPost, path, object{"data": object{"n": n}})
		require.Equal(s, float64(n), a.Get("data", "version"))
	}
	require.Equal(s, 3.0, s.ok(s.at(), http.MethodGet, path, nil).Get("data", "data", "n"))
	require.Equal(s, 1.0, s.ok(s.at(), http.MethodGet, path+"?version=1", nil).Get("data", "data", "n"))
	require.Equal(s, http.StatusBadRequest, s.status(s.at(), s.Root, http.MethodPost, path, object{"data": object{"n": 9}, "options": object{"cas": 1}}))
	s.ok(s.at(), http.MethodPost, fleet.KV+"/data/app/more/deep", object{"data": object{"n": 1}})
	require.Equal(s, []any{"db", "more/"}, s.ok(s.at(), "LIST", fleet.KV+"/metadata/app", nil).Get("data", "keys"))
	versions, _ := s.ok(s.at(), http.MethodGet, fleet.KV+"/metadata/app/db", nil).Get("data", "versions").(object)
	require.Len(s, versions, 3)
	s.ok(s.at(), http.MethodDelete, path, nil)
	require.Equal(s, http.StatusNotFound, s.status(s.at(), s.Root, http.MethodGet, path, nil))
	s.ok(s.at(), http.MethodPost, fleet.KV+"/undelete/app/db", object{"versions": []int{3}})
	require.Equal(s, 3.0, s.ok(s.at(), http.MethodGet, path, nil).Get("data", "data", "n"))
}

func (s *stage) transit() {
	s.ok(s.at(), http.MethodPost, "sys/mounts/transit", object{"type": "transit"})
	s.ok(s.at(), http.MethodPost, "transit/keys/k", object{})
	text := base64.StdEncoding.EncodeToString([]byte(plain))
	cipher := s.ok(s.at(), http.MethodPost, "transit/encrypt/k", object{"plaintext": text}).String("data", "ciphertext")
	require.Contains(s, cipher, "vault:v1:")
	s.ok(s.at(), http.MethodPost, "transit/keys/k/rotate", object{})
	rewrapped := s.ok(s.at(), http.MethodPost, "transit/rewrap/k", object{"ciphertext": cipher}).String("data", "ciphertext")
	require.Contains(s, rewrapped, "vault:v2:")
	for _, c := range []string{cipher, rewrapped} {
		require.Equal(s, text, s.decrypt(c))
	}
	// The stages after this one find it there.
	s.ok(s.at(), http.MethodPost, fleet.KV+"/data/app/cipher", object{"data": object{"text": cipher}})
}

func (s *stage) decrypt(cipher string) string {
	return s.ok(s.at(), http.MethodPost, "transit/decrypt/k", object{"ciphertext": cipher}).String("data", "plaintext")
}

func (s *stage) pki() {
	s.ok(s.at(), http.MethodPost, "sys/mounts/pki", object{"type": "pki", "config": object{"max_lease_ttl": "8760h"}})
	s.ok(s.at(), http.MethodPost, "pki/root/generate/internal", object{"common_name": "chord.test", "ttl": "8760h", "key_type": "ec"})
	s.ok(s.at(), http.MethodPost, "pki/roles/web", object{"allowed_domains": "chord.test", "allow_subdomains": true, "ttl": "1h", "key_type": "ec", "generate_lease": true})
	s.issue()
}

// issue issues a certificate that the root vouches for, and returns its lease.
func (s *stage) issue() (lease string) {
	a := s.ok(s.at(), http.MethodPost, "pki/issue/web", object{"common_name": "www.chord.test"})
	block, _ := pem.Decode([]byte(a.String("data", "certificate")))
	require.NotNil(s, block)
	certificate, err := x509.ParseCertificate(block.Bytes)
	s.must(err)
	roots := x509.NewCertPool()
	require.True(s, roots.AppendCertsFromPEM([]byte(a.String("data", "issuing_ca"))))
	_, err = certificate.Verify(x509.VerifyOptions{DNSName: "www.chord.test", Roots: roots})
	s.must(err)
	require.NotEmpty(s, a.String("lease_id"))
	return a.String("lease_id")
}

func (s *stage) userpass() {
	s.ok(s.at(), http.MethodPost, "sys/policies/acl/app", object{"policy": policy})
	s.ok(s.at(), http.MethodPost, "sys/auth/userpass", object{"type": "userpass"})
	s.ok(s.at(), http.MethodPost, "auth/userpass/users/eve", object{"password": "apple", "token_policies": "app", "token_ttl": "1h"})
	token := s.login()
	require.Equal(s, http.StatusOK, s.status(s.at(), token, http.MethodGet, fleet.KV+"/data/app/db", nil))
	require.Equal(s, http.StatusForbidden, s.status(s.at(), token, http.MethodGet, fleet.KV+"/data/first", nil))
	require.Equal(s, http.StatusBadRequest, s.status(s.at(), "", http.MethodPost, "auth/userpass/login/eve", object{"password": "pear"}))
	// A token of before the faults is one after them.
	s.ok(s.at(), http.MethodPost, fleet.KV+"/data/app/token", object{"data": object{"text": token}})
}

func (s *stage) login() (token string) {
	a, err := s.at().Must(s.ctx, "", http.MethodPost, "auth/userpass/login/eve", object{"password": "apple"})
	s.must(err)
	require.Equal(s, time.Hour.Seconds(), a.Get("auth", "lease_duration"))
	return a.String("auth", "client_token")
}

func (s *stage) leases() {
	token := s.login()
	a, err := s.at().Must(s.ctx, token, http.MethodPost, "auth/token/renew-self", object{"increment": "30m"})
	s.must(err)
	require.InDelta(s, (30 * time.Minute).Seconds(), a.Number("auth", "lease_duration"), 5)
	_, err = s.at().Must(s.ctx, token, http.MethodPost, "auth/token/revoke-self", object{})
	s.must(err)
	require.Equal(s, http.StatusForbidden, s.status(s.at(), token, http.MethodGet, "auth/token/lookup-self", nil))

	lease := s.issue()
	require.Equal(s, lease, s.ok(s.at(), http.MethodPost, "sys/leases/lookup", object{"lease_id": lease}).String("data", "id"))
	s.ok(s.at(), http.MethodPost, "sys/leases/revoke", object{"lease_id": lease, "sync": true})
	require.Equal(s, http.StatusBadRequest, s.status(s.at(), s.Root, http.MethodPost, "sys/leases/lookup", object{"lease_id": lease}))

	short := s.ok(s.at(), http.MethodPost, "auth/token/create", object{"ttl": shortTTL.String(), "policies": []string{"app"}}).String("auth", "client_token")
	require.Equal(s, http.StatusOK, s.status(s.at(), short, http.MethodGet, "auth/token/lookup-self", nil))
	s.must(cluster.Wait(s.ctx, "a token to end by itself", func(ctx context.Context) error {
		a, err := s.at().Ask(ctx, short, http.MethodGet, "auth/token/lookup-self", nil)
		if err == nil && a.Status != http.StatusForbidden {
			err = fmt.Errorf("its status is %d", a.Status)
		}
		return err
	}))
}

// remains looks for what engines left, after all that has happened to the servers.
func remains(s *stage) {
	require.Equal(s, 3.0, s.ok(s.at(), http.MethodGet, fleet.KV+"/data/app/db", nil).Get("data", "data", "n"))
	cipher := s.ok(s.at(), http.MethodGet, fleet.KV+"/data/app/cipher", nil).String("data", "data", "text")
	require.Equal(s, base64.StdEncoding.EncodeToString([]byte(plain)), s.decrypt(cipher))
	s.issue()
	token := s.ok(s.at(), http.MethodGet, fleet.KV+"/data/app/token", nil).String("data", "data", "text")
	a, err := s.at().Must(s.ctx, token, http.MethodGet, "auth/token/lookup-self", nil)
	s.must(err)
	require.Equal(s, "userpass-eve", a.String("data", "display_name"))
	require.Positive(s, a.Number("data", "ttl"))
	s.login()
}

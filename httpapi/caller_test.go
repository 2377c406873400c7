package httpapi

import (
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStrangeHosts: a page may lead its own name to loopback, and is of the same
// origin then. The Host header still has the name.
func TestStrangeHosts(t *testing.T) {
	n := serve(t, func(cfg *Config) { cfg.Hosts = []string{"127.0.0.1", "Node1.example"} })
	status := func(n *node, method, host string) (int, string) {
		r := httptest.NewRequest(method, "/v1/kv/k", nil)
		r.Host = host
		r.Header.Set("Origin", "http://"+host)
		rec := httptest.NewRecorder()
		n.handler.ServeHTTP(rec, r)
		return rec.Code, rec.Body.String()
	}
	for _, host := range []string{"127.0.0.1:8500", "127.0.0.1", "[::1]:8500", "10.0.0.1", "localhost", "LOCALHOST:1", "localhost.:1", "a.localhost", "node1.example:8500", "NODE1.example."} {
		code, body := status(n, "PUT", host)
		require.Equal(t, 200, code, "%s: %s", host, body)
	}
	for _, host := range []string{"evil.example", "evil.example:8500", "127.0.0.1.evil.example", "localhost.evil.example", "notlocalhost", "sub.node1.example", "127.1", "[evil.example]", "127.0.0.1:8500@evil.example"} {
		for _, method := range []string{"PUT", "GET", "DELETE"} {
			code, body := status(n, method, host)
			require.Equal(t, 403, code, host)
			require.Contains(t, body, "unauthorized: refused a request for the host ")
			require.Contains(t, body, "add the name to http_hosts")
		}
	}
	code, _ := status(serve(t, nil), "PUT", "evil.example")
	require.Equal(t, 200, code, "without Hosts any name is right")
}

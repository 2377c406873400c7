package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

func TestRefusals(t *testing.T) {
	n := serve(t, nil)
	for _, tc := range []struct {
		method, target string
		status         int
		text           string
	}{
		{"GET", "/v1/kv/", 400, "Missing key name\n"},
		{"PUT", "/v1/kv/", 400, "Missing key name\n"},
		{"DELETE", "/v1/kv/", 400, "Missing key name\n"},
		{"POST", "/v1/chord/pop/", 400, "Missing key name\n"},
		{"POST", "/v1/chord/pop/k?fence_key=l&fence_token=1", 400, "Invalid query parameter: \"fence_key\" - a pop takes no fence; read the key, and delete it with ?cas and the fence\n"},
		{"POST", "/v1/chord/popitem?fence_token=1", 400, "Invalid query parameter: \"fence_token\" - a pop takes no fence; read the key, and delete it with ?cas and the fence\n"},
		{"POST", "/v1/chord/pop/k?ns=team", 400, "Invalid query parameter: \"ns\" - namespaces and partitions do not exist here\n"},
		{"GET", "/v1/ring/locate/", 400, "Missing key name\n"},
		{"GET", "/v1/kv/k?index=x", 400, "Invalid index\n"},
		{"GET", "/v1/kv/k?index=-1", 400, "Invalid index\n"},
		{"GET", "/v1/kv/k?wait=x", 400, "Invalid wait time\n"},
		{"PUT", "/v1/kv/k?wait=5", 400, "Invalid wait time\n"},
		{"GET", "/v1/kv/k?stale&consistent", 400, "Cannot specify ?stale with ?consistent, conflicting semantics.\n"},
		{"GET", "/v1/kv/k?x=%zz", 400, "Invalid query: invalid URL escape \"%zz\"\n"},
		{"GET", "/v1/kv/k?ns=team", 400, "Invalid query parameter: \"ns\" - namespaces and partitions do not exist here\n"},
		{"GET", "/v1/kv/k?dc=east", 500, "No path to datacenter\n"},
		{"PUT", "/v1/kv/k?dc=east", 500, "No path to datacenter\n"},
		{"DELETE", "/v1/kv/k?dc=DC1", 500, "No path to datacenter\n"},
		{"GET", "/v1/kv/?keys&dc=east", 500, "No path to datacenter\n"},
		{"PUT", "/v1/txn?dc=east", 500, "No path to datacenter\n"},
		{"PUT", "/v1/session/create?dc=east", 500, "No path to datacenter\n"},
		{"GET", "/v1/session/list?dc=east", 500, "No path to datacenter\n"},
		{"GET", "/v1/status/leader?dc=east", 500, "No path to datacenter\n"},
		{"GET", "/v1/status/peers?dc=east", 500, "No path to datacenter\n"},
		{"PUT", "/v1/kv/k?cas=1&acquire=s", 400, "Conflicting flags: acquire=s&cas=1\n"},
		{"PUT", "/v1/kv/k?cas=1&release=s", 400, "Conflicting flags: cas=1&release=s\n"},
		{"PUT", "/v1/kv/k?acquire=s&release=s", 400, "Conflicting flags: acquire=s&release=s\n"},
		{"DELETE", "/v1/kv/k?recurse&cas=1", 400, "Conflicting flags: cas=1&recurse=\n"},
		{"PUT", "/v1/kv/k?acquire=s&expires_after=1m", 400, "Conflicting flags: acquire=s&expires_after=1m\n"},
		{"PUT", "/v1/kv/k?release=s&expires_after=1m", 400, "Conflicting flags: expires_after=1m&release=s\n"},
		{"PUT", "/v1/kv/k?acquire=", 400, "invalid: key \"k\": lock needs a session; create one\n"},
		{"PUT", "/v1/kv/k?release=", 400, "invalid: key \"k\": unlock needs a session; create one\n"},
		{"PUT", "/v1/kv//a?acquire=s", 400, "invalid: key \"/a\": a key must not begin with '/'; leave the slash out\n"},
		{"PUT", "/v1/kv/k?acquire=s&flags=x", 500, "strconv.ParseUint: parsing \"x\": invalid syntax\n"},
		{"PUT", "/v1/kv/k?acquire=s", 500, "invalid session: key \"k\": the session \"s\" has ended or never was; create a new one\n"},
		{"PUT", "/v1/kv/k?expires_after=x", 400, "Invalid expires_after \"x\": give a duration, for example 30s\n"},
		{"PUT", "/v1/kv/k?expires_after=1s", 400, "invalid: key \"k\": the key is to expire after 1s, which must be 10s to 24h0m0s, or 0 for never\n"},
		{"PUT", "/v1/kv/k?fence_key=l&fence_token=x", 400, "Invalid fence_token \"x\": give a whole number of up to 64 bits\n"},
		{"PUT", "/v1/kv/k?fence_key=l", 400, "invalid: key \"k\": the fence of lock \"l\" has no token; take it from the lock\n"},
		{"DELETE", "/v1/kv/k?fence_token=-1", 400, "Invalid fence_token \"-1\": give a whole number of up to 64 bits\n"},
		{"DELETE", "/v1/kv/k?recurse&fence_token=1", 400, "invalid: key \"k\": the fence's key: invalid: the key is empty; give a key of 1 to 2048 bytes\n"},
		{"PUT", "/v1/kv/k?flags=x", 500, "strconv.ParseUint: parsing \"x\": invalid syntax\n"},
		{"PUT", "/v1/kv/k?flags=18446744073709551616", 500, "strconv.ParseUint: parsing \"18446744073709551616\": value out of range\n"},
		{"PUT", "/v1/kv/k?cas=", 500, "strconv.ParseUint: parsing \"\": invalid syntax\n"},
		{"DELETE", "/v1/kv/k?cas=x", 500, "strconv.ParseUint: parsing \"x\": invalid syntax\n"},
		{"PUT", "/v1/kv//a", 400, "invalid: key \"/a\": a key must not begin with '/'; leave the slash out\n"},
		{"GET", "/v1/kv//a?recurse", 400, "invalid: key \"/a\": a key must not begin with '/'; leave the slash out\n"},
		{"DELETE", "/v1/kv//a?recurse", 400, "invalid: key \"/a\": a key must not begin with '/'; leave the slash out\n"},
		{"GET", "/v1/kv/%FF", 400, backend.DefaultLimits().CheckKey("\xff").Error() + "\n"},
		{"GET", "/v1/kv/a%00", 400, "invalid: key \"a\\x00\": a key must not hold control characters; byte 1 is U+0000\n"},
		{"GET", "/v1/chord/list?limit=x", 400, "Invalid limit \"x\": give a number of items, or 0 for all\n"},
		{"GET", "/v1/agent/metrics?format=prometheus", 404, "404 page not found\n"},
		{"GET", "/v1/chord/list?index=x", 400, "Invalid index\n"},
		{"DELETE", "/v1/kv/k?index=x", 400, "Invalid index\n"},
		{"GET", "/v1/kv//a?keys", 400, "invalid: key \"/a\": a key must not begin with '/'; leave the slash out\n"},
		{"PUT", "//v1/kv/a//b", 404, "404 page not found\n"},
		{"PUT", "/v1//kv/a", 404, "404 page not found\n"},
		{"GET", "/v1/x/../ring", 404, "404 page not found\n"},
		{"GET", "/", 404, "404 page not found\n"},
		{"GET", "/v1/kvs/k", 404, "404 page not found\n"},
		{"PUT", "/v1/session/renew/", 400, "Missing session ID\n"},
		{"PUT", "/v1/session/destroy/", 400, "Missing session ID\n"},
		{"GET", "/v1/session/info/", 400, "Missing session ID\n"},
		{"GET", "/v1/session/info", 400, "Missing session ID\n"},
		{"GET", "/v1/session/node/", 400, "Missing node name\n"},
		{"GET", "/v1/session/list?index=x", 400, "Invalid index\n"},
		{"GET", "/v1/session/info/s?stale&consistent", 400, "Cannot specify ?stale with ?consistent, conflicting semantics.\n"},
		{"GET", "/v1/session/node/a?wait=x", 400, "Invalid wait time\n"},
		{"PUT", "/v1/session/renew/s?ns=team", 400, "Invalid query parameter: \"ns\" - namespaces and partitions do not exist here\n"},
		{"PUT", "/v1/session/destroy/s?ns=team", 400, "Invalid query parameter: \"ns\" - namespaces and partitions do not exist here\n"},
		{"PUT", "/v1/session/create?ns=team", 400, "Invalid query parameter: \"ns\" - namespaces and partitions do not exist here\n"},
		{"PUT", "/v1/session/renew/s", 404, "Session id 's' not found: it has ended or never was; create a new one\n"},
		{"PUT", "/v1/agent/service/deregister/", 400, "Missing ID\n"},
		{"PUT", "/v1/agent/check/update/x?ns=team", 400, "Invalid query parameter: \"ns\" - namespaces and partitions do not exist here\n"},
		{"GET", "/v1/session", 404, "404 page not found\n"},
		{"GET", "/v1/catalog/services", 404, "404 page not found\n"},
	} {
		got := n.send(tc.method, tc.target, "")
		require.Equal(t, tc.text, got.body, "%s %s", tc.method, tc.target)
		require.Equal(t, tc.status, got.status, "%s %s", tc.method, tc.target)
	}
	require.Equal(t, 404, n.send("GET", "/v1/kv/k", "").status, "a refused PUT stored something")
}

func TestWrongMethods(t *testing.T) {
	n := serve(t, nil)
	for target, allow := range map[string]string{
		"/v1/kv/k":          "DELETE, GET, HEAD, PUT",
		"/v1/ring/locate/k": "GET, HEAD",
		"/v1/chord/pop/k":   "POST",
		"/v1/chord/popitem": "POST",
		"/v1/chord/list":    "GET, HEAD",
		"/v1/status/leader": "GET, HEAD",
		"/v1/agent/members": "GET, HEAD",
		"/v1/health":        "GET, HEAD",
		"/v1/ring":          "GET, HEAD",
		"/v1/agent/leave":   "PUT",
		"/v1/ring/remove":   "POST",
		"/v1/ring/verify":   "POST",

		"/v1/agent/force-leave/b": "PUT",
		"/v1/txn":                 "PUT",
		"/v1/session/create":      "PUT",
		"/v1/session/renew/s":     "PUT",
		"/v1/session/destroy/s":   "PUT",
		"/v1/session/info/s":      "GET, HEAD",
		"/v1/session/node/a":      "GET, HEAD",
		"/v1/session/list":        "GET, HEAD",
		"/v1/chord/txn":           "POST",
		"/v1/chord/fence":         "POST",
		"/v1/chord/tx/begin":      "POST",
		"/v1/chord/tx/commit":     "POST",

		"/v1/agent/service/register":     "PUT",
		"/v1/agent/service/deregister/x": "PUT",
		"/v1/agent/check/register":       "PUT",
		"/v1/agent/check/update/x":       "PUT",
	} {
		got := n.send("PATCH", target, "")
		require.Equal(t, 405, got.status, target)
		require.Equal(t, allow, got.header.Get("Allow"), target)
	}
}

func TestTimeoutHeader(t *testing.T) {
	n := serve(t, func(cfg *Config) { cfg.RequestTimeout, cfg.MaxTimeout = time.Minute, 2*time.Minute })
	for asked, granted := range map[string]string{"": "1m0s", "90s": "1m30s", "10h": "2m0s", "1ns": "1ns"} {
		var headers []string
		if asked != "" {
			headers = []string{headerTimeout, asked}
		}
		require.Equal(t, granted, n.send("GET", "/v1/chord/limits", "", headers...).header.Get(headerTimeout), "asked %q", asked)
	}
	for _, asked := range []string{"0s", "-1s", "5", "x"} {
		got := n.send("GET", "/v1/kv/k", "", headerTimeout, asked)
		require.Equal(t, 400, got.status, asked)
		require.Contains(t, got.body, "Invalid X-Chord-Timeout")
	}
}

func TestDeadlineReachesTheBackend(t *testing.T) {
	s := &scripted{get: func(ctx context.Context, _ string) (*backend.Entry, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, put: func(ctx context.Context, _ string) (uint64, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}}
	n := serve(t, func(cfg *Config) { cfg.Backend, cfg.RequestTimeout = s, time.Millisecond })
	got := n.send("GET", "/v1/kv/k", "")
	require.Equal(t, 503, got.status)
	require.Equal(t, "no quorum", got.header.Get(headerCode))
	require.Equal(t, "1", got.header.Get("Retry-After"))
	got = n.send("PUT", "/v1/kv/k", "v")
	require.Equal(t, 500, got.status)
	require.Equal(t, "unknown outcome", got.header.Get(headerCode))
}

func TestClientGoneCancelsTheCall(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	s := &scripted{get: func(ctx context.Context, _ string) (*backend.Entry, error) {
		close(began)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}
	n := serve(t, func(cfg *Config) { cfg.Backend = s })
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	c := n.client()
	go func() {
		_, err := c.Get(ctx, "k", backend.GetOptions{})
		failed <- err
	}()
	<-began
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	err := <-failed
	require.ErrorIs(t, err, backend.ErrNoQuorum)
	require.ErrorIs(t, err, context.Canceled)
}

func TestTooManyRequests(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	s := &scripted{get: func(context.Context, string) (*backend.Entry, error) {
		began <- struct{}{}
		<-release
		return nil, nil
	}}
	n := serve(t, func(cfg *Config) { cfg.Backend, cfg.MaxConcurrent = s, 2 })
	done := make(chan error, 2)
	c := n.client()
	for range 2 {
		go func() {
			_, err := c.Get(t.Context(), "k", backend.GetOptions{})
			done <- err
		}()
		<-began
	}
	require.Equal(t, 2, n.handler.Stats().InFlight)

	got := n.send("GET", "/v1/kv/k", "")
	require.Equal(t, 503, got.status)
	require.Equal(t, "1", got.header.Get("Retry-After"))
	require.Equal(t, "not ready: this node already serves 2 requests, its limit; try again\n", got.body)
	require.Equal(t, 503, n.send("GET", "/v1/chord/list", "").status)
	_, err := c.Get(t.Context(), "k", backend.GetOptions{})
	require.ErrorIs(t, err, backend.ErrNotReady)
	require.Equal(t, 200, n.send("GET", "/v1/health", "").status, "an operator can still look")

	close(release)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	stats := n.handler.Stats()
	require.EqualValues(t, 3, stats.Refused)
	require.EqualValues(t, 6, stats.Requests)
	require.Equal(t, 2, stats.Limit)
}

func TestValueSizes(t *testing.T) {
	const limit = 1000
	n := serve(t, func(cfg *Config) { cfg.MaxValueSize = limit })
	require.Equal(t, 200, n.send("PUT", "/v1/kv/k", strings.Repeat("x", limit)).status)
	require.Equal(t, limit, n.client().Limits().MaxValueSize)
	requireTooLarge := func(status int, body string) {
		t.Helper()
		require.Equal(t, 413, status)
		for _, text := range []string{"Value exceeds", "is too large", "too large", "put failed due to value being too large", "http_max_value_size"} {
			require.Contains(t, body, text)
		}
	}
	for _, size := range []int{limit + 1, 1 << 20, 10 << 20} {
		got := n.send("PUT", "/v1/kv/k", strings.Repeat("x", size))
		requireTooLarge(got.status, got.body)

		// A body of unknown length is found out while it is read.
		req, err := http.NewRequestWithContext(t.Context(), "PUT", n.URL+"/v1/kv/k", io.MultiReader(strings.NewReader(strings.Repeat("x", size))))
		require.NoError(t, err)
		resp, err := n.Client().Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		requireTooLarge(resp.StatusCode, string(body))

		_, err = n.client().Put(t.Context(), "k", make([]byte, size), backend.PutOptions{})
		require.ErrorIs(t, err, backend.ErrTooLarge)
	}
	require.Len(t, n.send("GET", "/v1/kv/k?raw", "").body, limit, "a refused value was stored")
}

func TestTooLargeFromBelowIsWordedForAllClients(t *testing.T) {
	small := backend.Limits{MaxKeySize: 10, MaxValueSize: 3}
	s := &scripted{put: func(_ context.Context, key string) (uint64, error) { return 0, small.CheckValue(key, []byte("four")) }}
	n := serve(t, func(cfg *Config) { cfg.Backend = s })
	got := n.send("PUT", "/v1/kv/k", "four")
	require.Equal(t, 413, got.status)
	require.Contains(t, got.body, "Value exceeds")
	require.Contains(t, got.body, "is too large")
}

func TestBodyThatStopsHalfWay(t *testing.T) {
	n := serve(t, nil)
	req := httptest.NewRequest("PUT", "/v1/kv/k", io.MultiReader(strings.NewReader("half"), failingReader{}))
	rec := httptest.NewRecorder()
	n.handler.ServeHTTP(rec, req)
	require.Equal(t, 400, rec.Code)
	require.Contains(t, rec.Body.String(), "the value did not arrive whole")
	require.Equal(t, 404, n.send("GET", "/v1/kv/k", "").status)
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestBodyThatStalls keeps its place no longer than a request usually may, whatever it
// asks for.
func TestBodyThatStalls(t *testing.T) {
	n := serve(t, func(cfg *Config) { cfg.RequestTimeout = 20 * time.Millisecond })
	for line, status := range map[string]int{"PUT /v1/kv/k": 400, "GET /v1/health": 200, "PATCH /v1/kv/k": 405} {
		conn, err := net.Dial("tcp", n.Listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = io.WriteString(conn, line+" HTTP/1.1\r\nHost: a\r\nX-Chord-Timeout: 10m\r\nContent-Length: 10\r\n\r\nhalf")
		require.NoError(t, err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err, line)
		require.Equal(t, status, resp.StatusCode, line)
		require.NoError(t, resp.Body.Close())
		require.NoError(t, conn.Close())
	}
	require.Equal(t, 404, n.send("GET", "/v1/kv/k", "").status)
}

func TestCrossOriginIsRefused(t *testing.T) {
	n := serve(t, nil)
	require.Equal(t, 200, n.send("PUT", "/v1/kv/k", "v").status)
	got := n.send("POST", "/v1/chord/pop/k", "", "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	require.Equal(t, 403, got.status)
	require.Equal(t, "unauthorized", got.header.Get(headerCode))
	require.Equal(t, 200, n.send("GET", "/v1/kv/k", "").status)
}

func TestHeaderLimit(t *testing.T) {
	n := serve(t, nil)
	long := "/v1/kv/" + strings.Repeat("a", MaxHeaderBytes+8<<10)
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, n.send("GET", long, "").status)
	_, err := n.client().Get(t.Context(), strings.TrimPrefix(long, "/v1/kv/"), backend.GetOptions{})
	require.ErrorIs(t, err, backend.ErrTooLarge)
}

func TestDeleteTree(t *testing.T) {
	n := serve(t, nil)
	c := n.client()
	for i := range deletePage + 10 {
		_, err := c.Put(t.Context(), fmt.Sprintf("t/%05d", i), nil, backend.PutOptions{})
		require.NoError(t, err)
	}
	_, err := c.Put(t.Context(), "tt", nil, backend.PutOptions{})
	require.NoError(t, err)
	require.Equal(t, "true", n.send("DELETE", "/v1/kv/t/?recurse", "").body)
	require.Equal(t, `["tt"]`, n.send("GET", "/v1/kv/?keys", "").body)
}

func TestDeleteTreeThatFailsHalfWay(t *testing.T) {
	names := []backend.ListItem{{Name: "p/a"}, {Name: "p/b"}}
	for _, tc := range []struct {
		name    string
		deleted func(key string) error
		listed  error
		code    backend.Code
	}{
		{"nothing was deleted", func(string) error { return backend.Errorf(backend.NoQuorum, "p/a", "no") }, nil, backend.NoQuorum},
		{"one was deleted", func(key string) error {
			if key == "p/b" {
				return backend.Errorf(backend.NoQuorum, key, "no")
			}
			return nil
		}, nil, backend.UnknownOutcome},
		{"the next page failed", func(string) error { return nil }, backend.Errorf(backend.NoQuorum, "p/", "no"), backend.UnknownOutcome},
		{"the first page failed", nil, backend.Errorf(backend.NoQuorum, "p/", "no"), backend.NoQuorum},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &scripted{
				del: func(_ context.Context, key string) error { return tc.deleted(key) },
				list: func(_ context.Context, q backend.ListQuery) (*backend.ListResult, error) {
					if q.After == "" && tc.deleted != nil {
						return &backend.ListResult{Items: names, More: true}, nil
					}
					return nil, tc.listed
				},
			}
			n := serve(t, func(cfg *Config) { cfg.Backend = s })
			got := n.send("DELETE", "/v1/kv/p/?recurse", "")
			require.Equal(t, tc.code.String(), got.header.Get(headerCode), got.body)
			require.Equal(t, statuses[tc.code], got.status)
		})
	}
}

func TestNewNeedsABackend(t *testing.T) {
	require.Panics(t, func() { New(Config{Admin: newAdmin()}) })
	require.Panics(t, func() { New(Config{Backend: &scripted{}}) })
}

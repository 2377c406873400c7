package httpapi

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// TestRequestsOfConsulsClient sends, in order and against one store, what
// Consul's Go client sends: its paths, its parameters with empty values, its
// headers. The memory store numbers its changes from 2.
func TestRequestsOfConsulsClient(t *testing.T) {
	n := serve(t, nil)
	const all = `[{"LockIndex":0,"Key":"app/a","Flags":42,"Value":"aGVsbG8=","CreateIndex":2,"ModifyIndex":2},` +
		`{"LockIndex":0,"Key":"app/db/x","Flags":0,"Value":"MQ==","CreateIndex":3,"ModifyIndex":3},` +
		`{"LockIndex":0,"Key":"app/empty","Flags":18446744073709551615,"Value":null,"CreateIndex":4,"ModifyIndex":4}]`
	for _, step := range []struct {
		method, target, body string
		status               int
		want                 string
		index                string // X-Consul-Index; "" for none
	}{
		{"PUT", "/v1/kv/app/a?flags=42", "hello", 200, "true", ""},
		{"PUT", "/v1/kv/app/db/x?dc=dc1", "1", 200, "true", ""},
		{"PUT", "/v1/kv/app/empty?flags=18446744073709551615", "", 200, "true", ""},
		{"GET", "/v1/kv/app/a", "", 200, `[{"LockIndex":0,"Key":"app/a","Flags":42,"Value":"aGVsbG8=","CreateIndex":2,"ModifyIndex":2}]`, "2"},
		{"GET", "/v1/kv/app/a?dc=dc1&stale=", "", 200, `[{"LockIndex":0,"Key":"app/a","Flags":42,"Value":"aGVsbG8=","CreateIndex":2,"ModifyIndex":2}]`, "2"},
		{"GET", "/v1/kv/app/a?consistent=", "", 200, `[{"LockIndex":0,"Key":"app/a","Flags":42,"Value":"aGVsbG8=","CreateIndex":2,"ModifyIndex":2}]`, "2"},
		{"GET", "/v1/kv/app/a?index=7&wait=60000ms", "", 200, `[{"LockIndex":0,"Key":"app/a","Flags":42,"Value":"aGVsbG8=","CreateIndex":2,"ModifyIndex":2}]`, "2"},
		{"GET", "/v1/kv/app/empty", "", 200, `[{"LockIndex":0,"Key":"app/empty","Flags":18446744073709551615,"Value":null,"CreateIndex":4,"ModifyIndex":4}]`, "4"},
		{"GET", "/v1/kv/app/a?raw=", "", 200, "hello", "2"},
		{"GET", "/v1/kv/app/empty?raw", "", 200, "", "4"},
		{"GET", "/v1/kv/none", "", 404, "", "4"},
		{"GET", "/v1/kv/none?raw=", "", 404, "", "4"},
		{"HEAD", "/v1/kv/app/a", "", 200, "", "2"},
		{"HEAD", "/v1/kv/none", "", 404, "", "4"},
		{"GET", "/v1/kv/app/?recurse=", "", 200, all, "4"},
		{"GET", "/v1/kv/?recurse=", "", 200, all, "4"},
		{"GET", "/v1/kv?recurse=", "", 200, all, "4"},
		{"GET", "/v1/kv/none/?recurse=", "", 404, "", "4"},
		{"GET", "/v1/kv/app/?keys=", "", 200, `["app/a","app/db/x","app/empty"]`, "4"},
		{"GET", "/v1/kv/app/?keys=&separator=%2F", "", 200, `["app/a","app/db/","app/empty"]`, "4"},
		{"GET", "/v1/kv/app/?keys=&seperator=%2F", "", 200, `["app/a","app/db/","app/empty"]`, "4"},
		{"GET", "/v1/kv/app/?keys=&separator=&seperator=%2F", "", 200, `["app/a","app/db/x","app/empty"]`, "4"},
		{"GET", "/v1/kv/app/?keys=&recurse=", "", 200, `["app/a","app/db/x","app/empty"]`, "4"},
		{"GET", "/v1/kv/?keys=&separator=%2F", "", 200, `["app/"]`, "4"},
		{"GET", "/v1/kv/none/?keys=", "", 404, "", "4"},
		{"PUT", "/v1/kv/app/a?cas=9&flags=1", "lost", 200, "false", ""},
		{"PUT", "/v1/kv/app/a?cas=0", "lost", 200, "false", ""},
		{"PUT", "/v1/kv/app/a?cas=2", "won", 200, "true", ""},
		{"PUT", "/v1/kv/new?cas=0", "won", 200, "true", ""},
		{"GET", "/v1/kv/app/a", "", 200, `[{"LockIndex":0,"Key":"app/a","Flags":0,"Value":"d29u","CreateIndex":2,"ModifyIndex":5}]`, "5"},
		{"DELETE", "/v1/kv/app/a?cas=2", "", 200, "false", ""},
		{"DELETE", "/v1/kv/app/a?cas=5", "", 200, "true", ""},
		{"DELETE", "/v1/kv/app/a?cas=5", "", 200, "true", ""}, // again, after a lost answer
		{"DELETE", "/v1/kv/never?cas=0", "", 200, "true", ""},
		{"DELETE", "/v1/kv/never", "", 200, "true", ""},
		{"GET", "/v1/kv/app/?keys=", "", 200, `["app/db/x","app/empty"]`, "7"},
		{"DELETE", "/v1/kv/app/?recurse=", "", 200, "true", ""},
		{"GET", "/v1/kv/?keys=", "", 200, `["new"]`, "9"},
		{"DELETE", "/v1/kv/?recurse=", "", 200, "true", ""},
		{"GET", "/v1/kv/?keys=", "", 200, `[]`, "10"},
		{"GET", "/v1/kv/app/a", "", 404, "", "10"},
	} {
		name := step.method + " " + step.target
		headers := []string{"X-Consul-Token", "secret", "User-Agent", "Go-http-client/1.1"}
		if step.body != "" {
			headers = append(headers, "Content-Type", "application/json")
		}
		got := n.send(step.method, step.target, step.body, headers...)
		require.Equal(t, step.status, got.status, "%s: %s", name, got.body)
		require.Equal(t, step.want, got.body, name)
		require.Equal(t, step.index, got.header.Get("X-Consul-Index"), name)
		if step.index != "" {
			require.Equal(t, "true", got.header.Get("X-Consul-KnownLeader"), name)
			require.Equal(t, "0", got.header.Get("X-Consul-LastContact"), name)
		}
		if strings.HasPrefix(got.body, "[") || got.body == "true" || got.body == "false" {
			require.Equal(t, "application/json", got.header.Get("Content-Type"), name)
		}
	}
}

// TestOurDeleteOfNothing: what Consul calls true is a conflict in our contract, which the
// headers keep.
func TestOurDeleteOfNothing(t *testing.T) {
	n := serve(t, nil)
	got := n.send("DELETE", "/v1/kv/never?cas=7", "")
	require.Equal(t, "true", got.body)
	require.Equal(t, "conflict", got.header.Get(headerCode))
	require.ErrorIs(t, n.client().Delete(t.Context(), "never", backend.DeleteOptions{If: backend.IfIndex(7)}), backend.ErrConflict)

	s := &scripted{
		del: func(_ context.Context, key string) error { return backend.Errorf(backend.Conflict, key, "no") },
		get: func(_ context.Context, key string) (*backend.Entry, error) {
			return nil, backend.Errorf(backend.NoQuorum, key, "too few")
		},
	}
	n = serve(t, func(cfg *Config) { cfg.Backend = s })
	require.Equal(t, 503, n.send("DELETE", "/v1/kv/k?cas=7", "").status)
}

func TestPretty(t *testing.T) {
	n := serve(t, nil)
	require.Equal(t, 200, n.send("PUT", "/v1/kv/k", "v").status)
	require.Equal(t, `[
    {
        "LockIndex": 0,
        "Key": "k",
        "Flags": 0,
        "Value": "dg==",
        "CreateIndex": 2,
        "ModifyIndex": 2
    }
]
`, n.send("GET", "/v1/kv/k?pretty=", "").body)
}

func TestRawTellsBrowsersNotToRunIt(t *testing.T) {
	n := serve(t, nil)
	page := "<script>alert(1)</script>\x00\xff"
	require.Equal(t, 200, n.send("PUT", "/v1/kv/k", page).status)
	got := n.send("GET", "/v1/kv/k?raw", "")
	require.Equal(t, page, got.body)
	require.Equal(t, "application/octet-stream", got.header.Get("Content-Type"))
	require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))
	require.Equal(t, "sandbox", got.header.Get("Content-Security-Policy"))
}

func TestIndexIsNeverZeroAndNeverFalls(t *testing.T) {
	n := serve(t, nil)
	require.Equal(t, "1", n.send("GET", "/v1/kv/none", "").header.Get("X-Consul-Index"), "before any change")
	for range 3 {
		require.Equal(t, 200, n.send("PUT", "/v1/kv/k", "v").status)
	}
	require.Equal(t, "4", n.send("GET", "/v1/kv/none", "").header.Get("X-Consul-Index"))
	require.EqualValues(t, 4, n.handler.seen(2))
	require.EqualValues(t, 5, n.handler.seen(5))
	require.Equal(t, "5", n.send("GET", "/v1/kv/none", "").header.Get("X-Consul-Index"))
	require.Equal(t, "4", n.send("GET", "/v1/kv/k", "").header.Get("X-Consul-Index"), "a key's index is its CAS index")
}

func TestKnownLeaderOfAStaleRead(t *testing.T) {
	n := serve(t, nil)
	n.admin.status.Quorum = false
	require.Equal(t, "false", n.send("GET", "/v1/kv/k?stale", "").header.Get("X-Consul-KnownLeader"))
	require.Equal(t, "true", n.send("GET", "/v1/kv/k", "").header.Get("X-Consul-KnownLeader"), "a quorum has just answered")
}

package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// TestSessionsOfConsulsClients makes sessions in all the forms in which clients
// write them, and reads them back.
func TestSessionsOfConsulsClients(t *testing.T) {
	n := serve(t, nil)
	for _, tc := range []struct{ name, body, want string }{
		{"nothing", "", `"Name":"","Node":"a","LockDelay":15000000000,"Behavior":"release","TTL":""`},
		{"an empty object", "{}", `"Name":"","Node":"a","LockDelay":15000000000,"Behavior":"release","TTL":""`},
		{"Consul's Go client", `{"Behavior":"delete","LockDelay":"5000ms","Name":"Consul API Lock","NodeChecks":["serfHealth"],"TTL":"15s"}`,
			`"Name":"Consul API Lock","Node":"a","LockDelay":5000000000,"Behavior":"delete","TTL":"15s"`},
		{"Patroni", `{"name":"batman-pg1","ttl":"15.0s","lockdelay":"0.001s","behavior":"delete","checks":[],"node":"pg1"}`,
			`"Name":"batman-pg1","Node":"pg1","LockDelay":1000000,"Behavior":"delete","TTL":"15.0s"`},
		{"the TTL as it was sent", `{"TTL":"0h1m"}`, `"Name":"","Node":"a","LockDelay":15000000000,"Behavior":"release","TTL":"0h1m"`},
		{"no TTL", `{"TTL":"0s"}`, `"Name":"","Node":"a","LockDelay":15000000000,"Behavior":"release","TTL":"0s"`},
		{"a small number is of seconds", `{"LockDelay":5}`, `"Name":"","Node":"a","LockDelay":5000000000,"Behavior":"release","TTL":""`},
		{"a fraction too", `{"LockDelay":0.5}`, `"Name":"","Node":"a","LockDelay":500000000,"Behavior":"release","TTL":""`},
		{"a large one is not", `{"LockDelay":1000}`, `"Name":"","Node":"a","LockDelay":1000,"Behavior":"release","TTL":""`},
		{"no lock delay", `{"LockDelay":0}`, `"Name":"","Node":"a","LockDelay":0,"Behavior":"release","TTL":""`},
		{"nor here", `{"LockDelay":"0s"}`, `"Name":"","Node":"a","LockDelay":0,"Behavior":"release","TTL":""`},
		{"null is nothing", `{"LockDelay":null,"TTL":null,"Checks":null}`, `"Name":"","Node":"a","LockDelay":15000000000,"Behavior":"release","TTL":""`},
		{"the longest lock delay", `{"LockDelay":999}`, `"Name":"","Node":"a","LockDelay":60000000000,"Behavior":"release","TTL":""`},
		{"nor longer", `{"LockDelay":"1h"}`, `"Name":"","Node":"a","LockDelay":60000000000,"Behavior":"release","TTL":""`},
		{"nor than what there is", `{"LockDelay":1e300}`, `"Name":"","Node":"a","LockDelay":60000000000,"Behavior":"release","TTL":""`},
	} {
		created := n.send("PUT", "/v1/session/create?dc=dc1", tc.body)
		require.Equal(t, 200, created.status, "%s: %s", tc.name, created.body)
		var id wireCreated
		require.NoError(t, json.Unmarshal([]byte(created.body), &id))
		require.Equal(t, `{"ID":"`+id.ID+`"}`, created.body)
		index := created.header.Get(headerIndex)

		var s []wireSession
		info := n.send("GET", "/v1/session/info/"+id.ID, "")
		require.NoError(t, json.Unmarshal([]byte(info.body), &s))
		data, err := json.Marshal(s[0].Data)
		require.NoError(t, err)
		want := fmt.Sprintf(`[{"ID":%q,%s,"NodeChecks":null,"ServiceChecks":null,"Data":%s,"CreateIndex":%s,"ModifyIndex":%s}]`, id.ID, tc.want, data, index, index)
		require.Equal(t, want, info.body, tc.name)
		require.Equal(t, index, info.header.Get("X-Consul-Index"))
		require.Equal(t, "true", info.header.Get("X-Consul-KnownLeader"))
		require.Equal(t, "0", info.header.Get("X-Consul-LastContact"))

		renewed := n.send("PUT", "/v1/session/renew/"+id.ID, "")
		require.Equal(t, 200, renewed.status)
		require.Equal(t, want, renewed.body)
		list := n.send("GET", "/v1/session/list", "")
		require.Equal(t, want, list.body)
		require.Equal(t, index, list.header.Get("X-Consul-Index"))
		require.Equal(t, want, n.send("GET", "/v1/session/node/"+s[0].Node, "").body)
		require.Equal(t, "[]", n.send("GET", "/v1/session/node/other", "").body)

		for range 2 {
			destroyed := n.send("PUT", "/v1/session/destroy/"+id.ID, "")
			require.Equal(t, 200, destroyed.status)
			require.Equal(t, "true", destroyed.body)
		}
		gone := n.send("GET", "/v1/session/info/"+id.ID, "")
		require.Equal(t, 200, gone.status)
		require.Equal(t, "[]", gone.body)
		require.Equal(t, index, gone.header.Get("X-Consul-Index"), "the index falls")
		require.Equal(t, "[]", n.send("GET", "/v1/session/list", "").body)
		require.Equal(t, 404, n.send("PUT", "/v1/session/renew/"+id.ID, "").status)
	}
}

func TestSessionsThatAreRefused(t *testing.T) {
	n := serve(t, nil)
	for _, tc := range []struct {
		body   string
		status int
		text   string
	}{
		{"x", 400, "Invalid JSON in the request: invalid character 'x' looking for beginning of value"},
		{"[]", 400, "Invalid JSON in the request: it is no object"},
		{`{"Name":7}`, 400, `Invalid JSON in the request: "Name" can not be a JSON number`},
		{`{"TTL":30}`, 400, `Invalid JSON in the request: "TTL" can not be a JSON number`},
		{`{"TTL":"30"}`, 500, `Session TTL '30' invalid: time: missing unit in duration "30"`},
		{`{"TTL":"9s"}`, 500, "Invalid Session TTL '9s', must be between [10s=24h0m0s]"},
		{`{"TTL":"25h"}`, 500, "Invalid Session TTL '25h', must be between [10s=24h0m0s]"},
		{`{"TTL":"-1s"}`, 500, "Invalid Session TTL '-1s', must be between [10s=24h0m0s]"},
		{`{"Behavior":"keep"}`, 500, "Invalid Behavior setting 'keep'"},
		{`{"LockDelay":"x"}`, 400, `Request decode failed: LockDelay "x" is no time of 0 or more; give "15s", or a number of seconds: time: invalid duration "x"`},
		{`{"LockDelay":"-1s"}`, 400, `Request decode failed: LockDelay "-1s" is no time of 0 or more; give "15s", or a number of seconds: it is negative`},
		{`{"LockDelay":-1}`, 400, `Request decode failed: LockDelay -1 is no time of 0 or more; give "15s", or a number of seconds: it is negative`},
		{`{"LockDelay":true}`, 400, `Request decode failed: LockDelay true is no time of 0 or more; give "15s", or a number of seconds: json: cannot unmarshal bool into Go value of type float64`},
		{`{"Checks":["web"]}`, 500, "Missing check 'web' registration: checks do not exist here, so none can end a session; give it a TTL instead"},
		{`{"NodeChecks":["serfHealth","web"]}`, 500, "Missing check 'web' registration: checks do not exist here, so none can end a session; give it a TTL instead"},
		{`{"ServiceChecks":[{"ID":"web"}]}`, 500, "Missing check 'web' registration: checks do not exist here, so none can end a session; give it a TTL instead"},
		{`{"ServiceChecks":"web"}`, 400, `Invalid JSON in the request: "ServiceChecks" can not be a JSON string`},
		{`{"Namespace":"team"}`, 400, "Invalid session: namespaces and partitions do not exist here"},
		{`{"Node":"` + strings.Repeat("n", 257) + `"}`, 400, "Invalid Node: it has 257 bytes and may have 256"},
		{`{"Name":"` + strings.Repeat("n", 257) + `"}`, 413, "too large: the session's name has 257 bytes and may have 256"},
		{`{"Data":"` + strings.Repeat("AAAA", 1366) + `"}`, 413, "too large: the session's data has 4098 bytes and may have 4096"},
		{`{"Data":"?"}`, 400, "Invalid JSON in the request: illegal base64 data at input byte 0"},
	} {
		got := n.send("PUT", "/v1/session/create", tc.body)
		require.Equal(t, tc.text+"\n", got.body, tc.body)
		require.Equal(t, tc.status, got.status, tc.body)
	}
	require.Equal(t, "[]", n.send("GET", "/v1/session/list", "").body)
}

// TestSessionsOfOurClient keeps what a backend.Session has, beside those of
// Consul's clients.
func TestSessionsOfOurClient(t *testing.T) {
	n := serve(t, nil)
	c := n.client()
	id := n.session(`{"Node":"pg1","TTL":"0.5m"}`)
	s, err := c.Session(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, 30*time.Second, s.TTL)
	made, err := c.CreateSession(t.Context(), backend.SessionOptions{LockDelay: time.Nanosecond, Data: []byte(`consul:{"Node":`)})
	require.NoError(t, err)
	require.Equal(t, time.Nanosecond, made.LockDelay)
	found, err := c.Session(t.Context(), made.ID)
	require.NoError(t, err)
	require.Equal(t, made, found)
	require.Contains(t, n.send("GET", "/v1/session/info/"+made.ID, "").body, `"Node":"",`)
}

// TestBlockingSessions waits for a new session, for the end of one, and for the time
// to be over, which is soon: nobody tells of a session that ended before.
func TestBlockingSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(backend.DefaultLimits())
		defer store.Close()
		h := New(Config{Backend: store, Admin: newAdmin(), NodeName: "a"})
		send := func(method, target string) (string, string) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(method, target, nil))
			require.Equal(t, 200, rec.Code, rec.Body)
			return rec.Body.String(), rec.Header().Get("X-Consul-Index")
		}
		var id wireCreated
		body, _ := send("PUT", "/v1/session/create")
		require.NoError(t, json.Unmarshal([]byte(body), &id))
		for _, target := range []string{"/v1/session/list", "/v1/session/info/" + id.ID, "/v1/session/node/a"} {
			before, index := send("GET", target)
			start := time.Now()
			for _, query := range []string{"?index=1", "?index=0", ""} {
				body, _ := send("GET", target+query)
				require.Equal(t, before, body)
				require.Zero(t, time.Since(start), query)
			}
			for query, wait := range map[string]time.Duration{"?index=" + index: maxSessionWait, "?index=99999": maxSessionWait, "?wait=3s&index=" + index: 3 * time.Second} {
				start = time.Now()
				body, again := send("GET", target+query)
				require.Equal(t, before, body)
				require.False(t, strings.HasSuffix(query, "="+again), "a client throws away what comes under its index")
				require.Equal(t, wait, time.Since(start), query)
			}
		}
		_, index := send("GET", "/v1/session/list")
		waiting := func(target string, change func()) (string, time.Duration) {
			start := time.Now()
			done := make(chan string)
			go func() {
				body, told := send("GET", target+"?index="+index)
				assert.NotEqual(t, index, told, target)
				done <- body
			}()
			synctest.Wait()
			require.Equal(t, 1, h.Stats().Waiting)
			require.Zero(t, h.Stats().InFlight, "who waits keeps others out")
			change()
			return <-done, time.Since(start)
		}
		body, took := waiting("/v1/session/list", func() { send("PUT", "/v1/session/create") })
		require.Equal(t, 2, strings.Count(body, `"ID"`))
		require.Equal(t, sessionLook, took)
		_, index = send("GET", "/v1/session/list")
		body, took = waiting("/v1/session/info/"+id.ID, func() { send("PUT", "/v1/session/destroy/"+id.ID) })
		require.Equal(t, "[]", body)
		require.Equal(t, sessionLook, took)
		_, again := send("GET", "/v1/session/list")
		require.Equal(t, index, again, "the index falls")
	})
}

// busy is a backend where something happens while sessions are listed.
type busy struct {
	*memory.Store
	meanwhile func()
}

func (b *busy) Sessions(ctx context.Context) ([]*backend.Session, error) {
	all, err := b.Store.Sessions(ctx)
	b.meanwhile()
	return all, err
}

// TestSessionMadeWhileListing: who was told of sessions without it is not told its
// index.
func TestSessionMadeWhileListing(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	b := &busy{Store: store}
	n := serve(t, func(cfg *Config) { cfg.Backend = b })
	n.session("")
	b.meanwhile = func() { b.meanwhile = func() {}; n.session("") }
	first := n.send("GET", "/v1/session/list", "")
	require.Equal(t, 1, strings.Count(first.body, `"ID"`))
	got := n.send("GET", "/v1/session/list?wait=60s&index="+first.header.Get("X-Consul-Index"), "")
	require.Equal(t, 2, strings.Count(got.body, `"ID"`))
	require.NotEqual(t, first.header.Get("X-Consul-Index"), got.header.Get("X-Consul-Index"))
}

// TestBlockingSessionsEnd with their client, and with an error of the backend.
func TestBlockingSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New(backend.DefaultLimits())
		h := New(Config{Backend: store, Admin: newAdmin(), NodeName: "a"})
		ctx, cancel := context.WithCancel(t.Context())
		codes := make(chan int, 2)
		for _, ctx := range []context.Context{ctx, t.Context()} {
			go func() {
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, "GET", "/v1/session/list?index=5", nil))
				codes <- rec.Code
			}()
		}
		synctest.Wait()
		cancel()
		require.Equal(t, 503, <-codes)
		require.NoError(t, store.Close())
		require.Equal(t, 503, <-codes)
	})
}

// TestIgnoredRegistrations are those with which Vault registers itself.
func TestIgnoredRegistrations(t *testing.T) {
	n := serve(t, nil)
	for target, body := range map[string]string{
		"/v1/agent/service/register":         `{"ID":"vault:127.0.0.1:8200","Name":"vault","Tags":["active"],"Port":8200,"Check":null}`,
		"/v1/agent/check/register":           `{"ID":"vault:127.0.0.1:8200:vault-sealed-check","Name":"Vault Sealed Status","TTL":"5s","ServiceID":"vault:127.0.0.1:8200"}`,
		"/v1/agent/check/update/vault:x":     `{"Status":"passing","Output":"Vault Unsealed"}`,
		"/v1/agent/check/deregister/vault:x": "",
		"/v1/agent/service/deregister/v/x":   "",
	} {
		got := n.send("PUT", target, body)
		require.Equal(t, 200, got.status, target)
		require.Empty(t, got.body, target)
		got = n.send("PUT", target, "[]")
		require.Equal(t, 400, got.status, target)
		require.Equal(t, "Invalid JSON in the request: it is no object\n", got.body)
		require.Equal(t, 413, n.send("PUT", target, `{"a":"`+strings.Repeat("x", maxDocument)+`"}`).status)
	}
}

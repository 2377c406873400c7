package httpapi

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// session makes a session as Consul's clients do and returns its ID.
func (n *node) session(body string) string {
	n.t.Helper()
	got := n.send("PUT", "/v1/session/create", body)
	require.Equal(n.t, 200, got.status, got.body)
	id := strings.TrimSuffix(strings.TrimPrefix(got.body, `{"ID":"`), `"}`)
	require.Len(n.t, id, 36, got.body)
	return id
}

// TestTransactionsOfConsulsClient sends what Consul's Go client sends, with null
// for the kinds that an operation is not of. The memory store numbers its changes
// from 2; the session takes the first number.
func TestTransactionsOfConsulsClient(t *testing.T) {
	n := serve(t, nil)
	s := n.session("")
	kv := func(verb, key, more string) string {
		return fmt.Sprintf(`{"KV":{"Verb":%q,"Key":%q,"Value":null,"Flags":0,"Index":0,"Session":""%s},"Node":null,"Service":null,"Check":null}`, verb, key, more)
	}
	result := func(key string, lock, create, modify int, more string) string {
		return fmt.Sprintf(`{"KV":{"LockIndex":%d,"Key":%q,"Flags":0,"Value":null,"CreateIndex":%d,"ModifyIndex":%d%s}}`, lock, key, create, modify, more)
	}
	for _, step := range []struct {
		name   string
		ops    []string
		status int
		want   string
	}{
		{"nothing", nil, 200, `{"Results":[],"Errors":null}`},
		{"set", []string{kv("set", "a/1", `,"Value":"aGVsbG8=","Flags":18446744073709551615`), kv("set", "a/2", "")}, 200,
			`{"Results":[{"KV":{"LockIndex":0,"Key":"a/1","Flags":18446744073709551615,"Value":null,"CreateIndex":3,"ModifyIndex":3}},` + result("a/2", 0, 4, 4, "") + `],"Errors":null}`},
		{"reads", []string{kv("get", "a/1", ""), kv("get-or-empty", "none", ""), kv("get-tree", "a/", ""), kv("check-index", "a/2", `,"Index":4`), kv("check-not-exists", "none", ""), kv("check-session", "a/2", "")}, 200,
			`{"Results":[{"KV":{"LockIndex":0,"Key":"a/1","Flags":18446744073709551615,"Value":"aGVsbG8=","CreateIndex":3,"ModifyIndex":3}},` +
				result("none", 0, 0, 0, "") +
				`,{"KV":{"LockIndex":0,"Key":"a/1","Flags":18446744073709551615,"Value":"aGVsbG8=","CreateIndex":3,"ModifyIndex":3}},` + result("a/2", 0, 4, 4, "") +
				`,` + result("a/2", 0, 4, 4, "") + `,` + result("a/2", 0, 4, 4, "") + `],"Errors":null}`},
		{"all that failed", []string{kv("set", "a/1", `,"Value":"d3Jvbmc="`), kv("get", "none", ""), kv("cas", "a/2", `,"Index":9`), kv("check-not-exists", "a/1", ""), kv("delete-cas", "a/2", `,"Index":3`), kv("lock", "a/2", `,"Session":"gone"`)}, 409,
			`{"Results":null,"Errors":[{"OpIndex":1,"What":"key \"none\": get needs the key, which does not exist"},` +
				`{"OpIndex":2,"What":"key \"a/2\": the modify index is 4 and should be 9; read the key and try again"},` +
				`{"OpIndex":3,"What":"key \"a/1\": the key exists and should not"},` +
				`{"OpIndex":4,"What":"key \"a/2\": the modify index is 4 and should be 3; read the key and try again"},` +
				`{"OpIndex":5,"What":"invalid session: key \"a/2\": the session \"gone\" has ended or never was; create a new one"}]}`},
		{"lock", []string{kv("lock", "l", `,"Value":"bWU=","Session":"`+s+`"`), kv("check-session", "l", `,"Session":"`+s+`"`)}, 200,
			`{"Results":[` + strings.Replace(result("l", 1, 5, 5, `,"LockToken":5`), `"CreateIndex"`, `"Session":"`+s+`","CreateIndex"`, 1) + `,` +
				strings.Replace(result("l", 1, 5, 5, `,"LockToken":5`), `"CreateIndex"`, `"Session":"`+s+`","CreateIndex"`, 1) + `],"Errors":null}`},
		{"unlock", []string{kv("unlock", "l", `,"Session":"`+s+`"`)}, 200, `{"Results":[` + result("l", 1, 5, 6, "") + `],"Errors":null}`},
		{"unlock again", []string{kv("unlock", "l", `,"Session":"`+s+`"`)}, 409,
			`{"Results":null,"Errors":[{"OpIndex":0,"What":"key \"l\": the session \"\" holds the key and not \"` + s + `\", which is to release it"}]}`},
		{"deletes", []string{kv("delete", "l", ""), kv("delete-cas", "a/2", `,"Index":4`), kv("delete-tree", "a/", "")}, 200, `{"Results":[],"Errors":null}`},
		{"lower-case names", []string{`{"kv":{"verb":"set","key":"low","value":"dg=="}}`}, 200, `{"Results":[` + result("low", 0, 10, 10, "") + `],"Errors":null}`},
	} {
		got := n.send("PUT", "/v1/txn?dc=dc1", "["+strings.Join(step.ops, ",")+"]", "X-Consul-Token", "secret")
		require.Equal(t, step.want, got.body, step.name)
		require.Equal(t, step.status, got.status, step.name)
		require.Equal(t, "application/json", got.header.Get("Content-Type"), step.name)
		require.Equal(t, step.name == "reads" || step.name == "nothing", got.header.Get("X-Consul-KnownLeader") == "true", step.name)
	}
	require.Equal(t, `["low"]`, n.send("GET", "/v1/kv/?keys", "").body)
	for _, mode := range []string{"stale", "consistent"} {
		require.Equal(t, 200, n.send("PUT", "/v1/txn?"+mode, `[{"KV":{"Verb":"get","Key":"low"}}]`).status)
	}
}

// TestTransactionsThatAreRefused changes nothing, whatever is wrong.
func TestTransactionsThatAreRefused(t *testing.T) {
	n := serve(t, nil)
	const set = `{"KV":{"Verb":"set","Key":"k","Value":"dg=="}}`
	ops := func(op string) string { return "[" + set + "," + op + "]" }
	for _, tc := range []struct{ body, text string }{
		{"", "Invalid JSON in the request: the body is empty"},
		{"[", "Invalid JSON in the request: it ends too early"},
		{"null", "Invalid JSON in the request: it is no array"},
		{set, "Invalid JSON in the request: it is no array"},
		{"[" + set + "] x", "Invalid JSON in the request: something follows the array"},
		{"[" + strings.Replace(set, "k", "\xff", 1) + "]", "Invalid JSON in the request: it is not UTF-8"},
		{"[" + strings.Replace(set, "k", `\ud800`, 1) + "]", `Invalid JSON in the request: \ud800 is half of a character`},
		{ops("{}"), "operation 1 has no KV, the only kind of operation that exists here"},
		{ops("null"), "operation 1 has no KV, the only kind of operation that exists here"},
		{ops(`{"Node":{}}`), "operation 1 has no KV, the only kind of operation that exists here"},
		{ops(`{"KV":{"Verb":"get","Key":"k"},"Node":{}}`), "operation 1 has more than KV, the only kind of operation that exists here"},
		{ops(`{"KV":{"Verb":"get","Key":"k","Namespace":"n"}}`), "operation 1 has a namespace or partition, which do not exist here"},
		{ops(`{"KV":{"Verb":"get","Key":"k","Partition":"n"}}`), "operation 1 has a namespace or partition, which do not exist here"},
		{ops(`{"KV":{"Verb":7}}`), `Invalid JSON in the request: "KV.Verb" can not be a JSON number`},
		{ops(`{"KV":{"Verb":"set","Key":7}}`), `Invalid JSON in the request: "KV.Key" can not be a JSON number`},
		{ops(`{"KV":{"Verb":"set","Key":"k","Value":"=="}}`), "Invalid JSON in the request: illegal base64 data at input byte 0"},
		{ops(`{"KV":{"Verb":"set","Key":"k","Value":7}}`), `Invalid JSON in the request: "KV.Value" can not be a JSON number`},
		{ops(`{"KV":{"Verb":"set","Key":"k","Flags":-1}}`), `Invalid JSON in the request: "KV.Flags" can not be a JSON number -1`},
		{ops(`{"KV":{"Verb":"set","Key":"k","Flags":18446744073709551616}}`), `Invalid JSON in the request: "KV.Flags" can not be a JSON number 18446744073709551616`},
		{ops(`{"KV":{"Verb":"cas","Key":"k","Index":"1"}}`), `Invalid JSON in the request: "KV.Index" can not be a JSON string`},
		{ops(`{"KV":{"Verb":"lock","Key":"k","Session":1}}`), `Invalid JSON in the request: "KV.Session" can not be a JSON number`},
		{ops(`{"KV":{"Verb":"lock","Key":"k"}}`), `invalid: key "k": operation 1: lock needs a session; create one`},
		{ops(`{"KV":{"Verb":"steal","Key":"k"}}`), `invalid: key "k": operation 1: there is no verb "steal"; the verbs are [cas check-index check-not-exists check-session delete delete-cas delete-tree get get-or-empty get-tree lock set unlock]`},
		{ops(`{"KV":{"Verb":"set"}}`), "operation 1: the key is empty; give a key of 1 to 2048 bytes"},
		{ops(`{"KV":{"Verb":"set","Key":"/k"}}`), `invalid: key "/k": operation 1: a key must not begin with '/'; leave the slash out`},
		{ops(`{"KV":{"Verb":"set","Key":"a\u0000"}}`), `invalid: key "a\x00": operation 1: a key must not hold control characters; byte 1 is U+0000`},
	} {
		got := n.send("PUT", "/v1/txn", tc.body)
		require.Equal(t, tc.text, strings.TrimSuffix(got.body, "\n"), tc.body)
		require.Equal(t, 400, got.status, tc.body)
	}
	require.Equal(t, 400, n.send("PUT", "/v1/txn?stale&consistent", "["+set+"]").status)
	require.Equal(t, 400, n.send("PUT", "/v1/txn?ns=team", "["+set+"]").status)

	many := n.send("PUT", "/v1/txn", "["+strings.Repeat(set+",", backend.MaxTxnOps)+set+"]")
	require.Equal(t, 413, many.status)
	require.Contains(t, many.body, "too many operations")

	// A value that is too large arrives in time to be named, or in JSON that is.
	large := func(size int) string {
		return ops(`{"KV":{"Verb":"set","Key":"k","Value":"` + base64.StdEncoding.EncodeToString(make([]byte, size)) + `"}}`)
	}
	for _, body := range []string{large(DefaultMaxValueSize), large(4 << 20)} {
		requireTooLarge(t, n.send("PUT", "/v1/txn", body))
		req, err := http.NewRequestWithContext(t.Context(), "PUT", n.URL+"/v1/txn", io.MultiReader(strings.NewReader(body)))
		require.NoError(t, err)
		resp, err := n.Client().Do(req)
		require.NoError(t, err)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		requireTooLarge(t, response{status: resp.StatusCode, body: string(text)})
	}
	small := serve(t, func(cfg *Config) { cfg.MaxValueSize = 100 })
	requireTooLarge(t, small.send("PUT", "/v1/txn", large(101)))
	require.Equal(t, 200, small.send("PUT", "/v1/txn", large(100)).status)
	wide := serve(t, func(cfg *Config) { cfg.MaxValueSize = 2 << 20 })
	require.Equal(t, 200, wide.send("PUT", "/v1/txn", large(1<<20)).status)
	requireTooLarge(t, wide.send("PUT", "/v1/txn", large(2<<20)))
	require.Equal(t, `[]`, n.send("GET", "/v1/kv/?keys", "").body, "a refused transaction changed something")
}

// requireTooLarge requires the words that Vault and Terraform look for.
func requireTooLarge(t *testing.T, got response) {
	t.Helper()
	require.Equal(t, 413, got.status)
	for _, text := range []string{"Value exceeds", "is too large", "too large", "put failed due to value being too large"} {
		require.Contains(t, got.body, text)
	}
}

// TestTransactionThatLosesAgainAndAgain is 409 with a body that Consul's clients
// can read.
func TestTransactionThatLosesAgainAndAgain(t *testing.T) {
	n := serve(t, func(cfg *Config) { cfg.Backend = losing{cfg.Backend} })
	got := n.send("PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"k"}}]`)
	require.Equal(t, 409, got.status)
	require.Equal(t, `{"Results":null,"Errors":[{"OpIndex":0,"What":"transaction conflict: it lost"}]}`, got.body)
	require.Equal(t, "transaction conflict", got.header.Get(headerCode))
	_, err := n.client().Txn(t.Context(), nil)
	require.Equal(t, &backend.Error{Code: backend.TxnConflict, Message: "it lost"}, err)
	got = n.send("DELETE", "/v1/kv/k?recurse", "")
	require.Equal(t, 409, got.status)
}

// losing is a backend whose transactions lose.
type losing struct{ backend.Backend }

func (losing) Txn(_ context.Context, _ []backend.TxnOp) (*backend.TxnResult, error) {
	return nil, backend.Errorf(backend.TxnConflict, "", "it lost")
}

func (losing) Begin(_ context.Context, _ backend.TxOptions) (backend.Tx, error) {
	return nil, backend.Errorf(backend.TxnConflict, "", "it lost")
}

// TestOwnTransactionsThatAreRefused: our own form takes no other fields.
func TestOwnTransactionsThatAreRefused(t *testing.T) {
	n := serve(t, nil)
	for _, tc := range []struct{ body, text string }{
		{"", "Invalid JSON in the request: the body is empty"},
		{"[]", "Invalid JSON in the request: it is no object"},
		{`{"Ops":[{"Verb":"get","Key":"k","TTL":1}]}`, `Invalid JSON in the request: unknown field "TTL"`},
		{`{"Ops":[{"Verb":"set","Key":"k","ExpiresAfter":1}]}`, `Invalid JSON in the request: "Ops.ExpiresAfter" can not be a JSON number`},
		{`{"Ops":[{"Verb":"set","Key":"k","ExpiresAfter":"x"}]}`, `Invalid JSON in the request: time: invalid duration "x"`},
		{`{"Ops":[{"Verb":"set","Key":"k","FenceToken":-1}]}`, `Invalid JSON in the request: "Ops.FenceToken" can not be a JSON number -1`},
	} {
		got := n.send("POST", "/v1/chord/txn", tc.body)
		require.Equal(t, tc.text+"\n", got.body)
		require.Equal(t, 400, got.status)
	}
	got := n.send("POST", "/v1/chord/txn", `{"Ops":[{"Verb":"set","Key":"k"},{"Verb":"set","Key":"/k"},{"Verb":"get","Key":""}]}`)
	require.Equal(t, 400, got.status)
	require.Equal(t, "2", got.header.Get(headerOps))
	require.Equal(t, `{"Ops":[{"Op":1,"Code":1,"Key":"/k","Message":"a key must not begin with '/'; leave the slash out"},`+
		`{"Op":2,"Code":1,"Message":"the key is empty; give a key of 1 to 2048 bytes"}]}`, got.body)
	got = n.send("POST", "/v1/chord/txn", strings.Repeat(" ", maxOwnTxn+1))
	require.Equal(t, 413, got.status)
	require.Equal(t, `[]`, n.send("GET", "/v1/kv/?keys", "").body)
}

// TestLargeTransactionsTakeTurns reads no more of them at a time than there are
// places, and gives up in time.
func TestLargeTransactionsTakeTurns(t *testing.T) {
	n := serve(t, nil)
	for range maxLarge {
		n.handler.large <- struct{}{}
	}
	body := `{"Ops":[{"Verb":"set","Key":"k","Value":"` + base64.StdEncoding.EncodeToString(make([]byte, maxTxnBody)) + `"}]}`
	got := n.send("POST", "/v1/chord/txn", body, headerTimeout, "20ms")
	require.Equal(t, 503, got.status)
	require.Contains(t, got.body, "16 large transactions are under way")
	require.Equal(t, 200, n.send("POST", "/v1/chord/txn", `{"Ops":[{"Verb":"set","Key":"small"}]}`).status)
	<-n.handler.large
	require.Equal(t, 200, n.send("POST", "/v1/chord/txn", body).status)
	require.Equal(t, `["k","small"]`, n.send("GET", "/v1/kv/?keys", "").body)
}

// TestErrorsOfTransactionsCrossWhole sends an error with operations.
func TestErrorsOfTransactionsCrossWhole(t *testing.T) {
	want := &backend.Error{Code: backend.Conflict, Key: "ü\n", Message: "no\n", Answered: 1, Owners: 5}
	for i := range backend.MaxTxnOps {
		want.Ops = append(want.Ops, backend.OpError{Op: i, Code: backend.Code(i%int(backend.Internal) + 1), Key: "é" + strings.Repeat("k", 2000), Message: "because \"" + strings.Repeat("m", 100)})
	}
	n := serve(t, func(cfg *Config) { cfg.Backend = failing{cfg.Backend, want} })
	_, err := n.client().Txn(t.Context(), nil)
	require.Equal(t, want, err)
}

type failing struct {
	backend.Backend
	err error
}

func (f failing) Txn(context.Context, []backend.TxnOp) (*backend.TxnResult, error) { return nil, f.err }

func (f failing) Begin(context.Context, backend.TxOptions) (backend.Tx, error) { return nil, f.err }

// TestKeysThatJSONCannotCarry are refused by the client, and not changed.
func TestKeysThatJSONCannotCarry(t *testing.T) {
	n := serve(t, nil)
	_, err := n.client().Txn(t.Context(), []backend.TxnOp{{Verb: backend.VerbSet, Key: "a"}, {Verb: backend.VerbSet, Key: "\xff"}})
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.Equal(t, `[]`, n.send("GET", "/v1/kv/?keys", "").body)
}

// TestWhatABackendLacksIsRefused says what it lacks.
func TestWhatABackendLacksIsRefused(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	n := serve(t, func(cfg *Config) { cfg.Backend = watching{store, store} })
	for target, lacks := range map[string]string{
		"PUT /v1/txn": "transactions", "POST /v1/chord/txn": "transactions", "POST /v1/chord/tx/begin": "transactions", "POST /v1/chord/tx/get": "transactions",
		"POST /v1/chord/fence": "fences", "PUT /v1/session/create": "sessions", "PUT /v1/session/renew/s": "sessions", "PUT /v1/session/destroy/s": "sessions",
		"GET /v1/session/info/s": "sessions", "GET /v1/session/list": "sessions", "GET /v1/session/node/a": "sessions",
		"PUT /v1/kv/k?acquire=s": "transactions, sessions", "PUT /v1/kv/k?release=s": "transactions, sessions",
	} {
		method, path, _ := strings.Cut(target, " ")
		got := n.send(method, path, "[]")
		require.Equal(t, 400, got.status, target)
		require.Equal(t, "the backend of this agent has no "+lacks+"\n", got.body, target)
	}
	_, err := n.client().CreateSession(t.Context(), backend.SessionOptions{TTL: time.Minute})
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.Equal(t, backend.CanWatch, n.client().Capabilities())
}

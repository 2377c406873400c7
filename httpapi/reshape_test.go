package httpapi

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// TestLeaveInConsulsShape: the answer is empty, and it takes as long as may be
// asked for when the client does not say how long it will wait.
func TestLeaveInConsulsShape(t *testing.T) {
	n := serve(t, func(cfg *Config) { cfg.RequestTimeout, cfg.MaxTimeout = time.Minute, time.Hour })
	var within time.Duration
	n.admin.leave = func(ctx context.Context) error {
		deadline, _ := ctx.Deadline()
		within = time.Until(deadline)
		return nil
	}
	got := n.send("PUT", "/v1/agent/leave", "")
	require.Greater(t, within, 59*time.Minute)
	require.Equal(t, 200, got.status)
	require.Empty(t, got.body)
	require.Equal(t, "1h0m0s", got.header.Get(headerTimeout))
	require.Equal(t, "1m0s", n.send("GET", "/v1/ring", "").header.Get(headerTimeout))
	require.NoError(t, n.client().Leave(t.Context()))

	n.admin.leave = func(context.Context) error {
		return backend.Errorf(backend.Invalid, "", "this is the last member")
	}
	got = n.send("PUT", "/v1/agent/leave", "")
	require.Equal(t, 400, got.status)
	require.Equal(t, "this is the last member\n", got.body)
}

// TestLeaveOutlastsTheAgentsTimeout: who leaves waits as long as he likes, and
// not longer.
func TestLeaveOutlastsTheAgentsTimeout(t *testing.T) {
	calls := make(chan struct{}, 100)
	n := serve(t, func(cfg *Config) { cfg.MaxTimeout = 20 * time.Millisecond })
	n.admin.leave = func(ctx context.Context) error {
		calls <- struct{}{}
		if len(calls) == 3 {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
	require.NoError(t, n.client().Leave(context.Background()))
	require.Len(t, calls, 3)

	n.admin.leave = func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := n.client().Leave(ctx)
	require.Contains(t, []backend.Code{backend.UnknownOutcome, backend.NoQuorum}, backend.CodeOf(err), "%v", err)
	require.ErrorIs(t, ctxErr(ctx), context.DeadlineExceeded)

	// What may be repeated only by hand is not.
	n.admin.remove = func(ctx context.Context, _ backend.RemoveRequest) (*backend.RemoveReport, error) {
		calls <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	_, err = n.client().Remove(t.Context(), backend.RemoveRequest{Names: []string{"b"}})
	require.ErrorIs(t, err, backend.ErrUnknownOutcome)
	require.Len(t, calls, 4)
}

// ctxErr waits for the end of ctx.
func ctxErr(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestForceLeaveIsRemove(t *testing.T) {
	n := serve(t, nil)
	var asked []backend.RemoveRequest
	n.admin.remove = func(_ context.Context, req backend.RemoveRequest) (*backend.RemoveReport, error) {
		asked = append(asked, req)
		if req.Names[0] == "alive" {
			return nil, backend.Errorf(backend.Invalid, "", `"alive" is alive; ask it to leave`)
		}
		return &backend.RemoveReport{Epoch: 8}, nil
	}
	for _, target := range []string{"b", "b?prune", "two%20words", "a%2Fb", "../b"} {
		got := n.send("PUT", "/v1/agent/force-leave/"+target, "")
		require.Equal(t, 200, got.status, target)
		require.Empty(t, got.body)
	}
	require.Equal(t, []backend.RemoveRequest{
		{Names: []string{"b"}}, {Names: []string{"b"}}, {Names: []string{"two words"}}, {Names: []string{"a/b"}}, {Names: []string{"../b"}},
	}, asked)
	got := n.send("PUT", "/v1/agent/force-leave/alive", "")
	require.Equal(t, 400, got.status)
	require.Equal(t, "\"alive\" is alive; ask it to leave\n", got.body)
	for _, target := range []string{"/v1/agent/force-leave/", "/v1/agent/force-leave"} {
		got := n.send("PUT", target, "")
		require.Equal(t, 400, got.status)
		require.Equal(t, "Missing node name\n", got.body)
	}
	require.Len(t, asked, 6)
}

func TestRemoveCrossesWhole(t *testing.T) {
	n := serve(t, nil)
	var asked backend.RemoveRequest
	report := &backend.RemoveReport{Epoch: 1<<53 + 1, Survivors: []string{"a", "\"d\" \u00e9"}, AtRisk: 0.125, Missing: []string{"d"}}
	n.admin.remove = func(_ context.Context, req backend.RemoveRequest) (*backend.RemoveReport, error) {
		asked = req
		return report, nil
	}
	want := backend.RemoveRequest{Names: []string{"b", "c\" d"}, Force: true, Confirm: true}
	got, err := n.client().Remove(t.Context(), want)
	require.NoError(t, err)
	require.Equal(t, report, got)
	require.Equal(t, want, asked)

	plain := n.send("POST", "/v1/ring/remove", `{"names":["b"]}`)
	require.Equal(t, 200, plain.status)
	require.Equal(t, `{"epoch":9007199254740993,"survivors":["a","\"d\" é"],"at_risk":0.125,"missing":["d"]}`, plain.body)
	require.Equal(t, backend.RemoveRequest{Names: []string{"b"}}, asked)
}

func TestVerifyCrossesWhole(t *testing.T) {
	n := serve(t, nil)
	var asked backend.VerifyQuery
	page := &backend.VerifyPage{
		Keys: 10, Repaired: 1, Silent: []string{"d"}, Next: "k\u00e9\x00", More: true, Problems: []backend.KeyProblem{
			{Key: "a\n<b>", Missing: []string{"b"}, Behind: []string{"c"}, Copies: 1, Owners: 3},
			{Key: "c", Behind: []string{"c"}, Copies: 2, Owners: 3, Error: "no quorum"},
		},
	}
	n.admin.verify = func(_ context.Context, q backend.VerifyQuery) (*backend.VerifyPage, error) {
		asked = q
		return page, nil
	}
	want := backend.VerifyQuery{After: "\x00\u00fc/", Limit: maxVerify, Repair: true}
	got, err := n.client().Verify(t.Context(), want)
	require.NoError(t, err)
	require.Equal(t, page, got)
	require.Equal(t, want, asked)
	require.Equal(t, 200, n.send("POST", "/v1/ring/verify", "{}").status)
	require.Zero(t, asked)
}

// TestVerifyThatEndsEarly: a comparison changed nothing, a repair may have.
func TestVerifyThatEndsEarly(t *testing.T) {
	n := serve(t, func(cfg *Config) { cfg.RequestTimeout = time.Millisecond })
	n.admin.verify = func(ctx context.Context, _ backend.VerifyQuery) (*backend.VerifyPage, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for body, code := range map[string]backend.Code{`{}`: backend.NoQuorum, `{"repair":true}`: backend.UnknownOutcome} {
		require.Equal(t, code.String(), n.send("POST", "/v1/ring/verify", body).header.Get(headerCode))
	}
}

func TestDocumentsThatAreRefused(t *testing.T) {
	n := serve(t, nil)
	n.admin.remove = func(context.Context, backend.RemoveRequest) (*backend.RemoveReport, error) {
		panic("a refused request was passed on")
	}
	n.admin.verify = func(context.Context, backend.VerifyQuery) (*backend.VerifyPage, error) {
		panic("a refused request was passed on")
	}
	const remove, verify = "/v1/ring/remove", "/v1/ring/verify"
	for _, tc := range []struct{ target, body, text string }{
		{remove, ``, "Invalid JSON in the request: the body is empty"},
		{remove, " \n", "Invalid JSON in the request: the body is empty"},
		{remove, `{"names":["b"]`, "Invalid JSON in the request: it ends too early"},
		{remove, `{"names":["b"],"forse":true}`, `Invalid JSON in the request: unknown field "forse"`},
		{remove, `{"names":"b"}`, `Invalid JSON in the request: "names" can not be a JSON string`},
		{remove, `["b"]`, "Invalid JSON in the request: it is no object"},
		{remove, `null`, "Invalid JSON in the request: it is no object"},
		{remove, `{"names":["b"]} {}`, "Invalid JSON in the request: something follows the object"},
		{remove, `{"names":["b"]} x`, "Invalid JSON in the request: something follows the object"},
		{remove, `names=b`, "Invalid JSON in the request: invalid character 'a' in literal null (expecting 'u')"},
		{remove, `{}`, `names is empty: say which members to remove, as in {"names":["a"]}`},
		{remove, `{"names":[]}`, `names is empty: say which members to remove, as in {"names":["a"]}`},
		{verify, `{"limit":"10"}`, `Invalid JSON in the request: "limit" can not be a JSON string`},
		{verify, `{"limit":1.5}`, `Invalid JSON in the request: "limit" can not be a JSON number 1.5`},
		{verify, `{"limit":-1}`, "limit is -1: give 1 to 10000 keys, or 0 for the default"},
		{verify, `{"limit":10001}`, "limit is 10001: give 1 to 10000 keys, or 0 for the default"},
	} {
		got := n.send("POST", tc.target, tc.body)
		require.Equal(t, tc.text+"\n", got.body, "%s %s", tc.target, tc.body)
		require.Equal(t, 400, got.status)
		require.Equal(t, "invalid", got.header.Get(headerCode))
	}

	fits := `{"names":["b"],"forse":"` + strings.Repeat("x", maxDocument-len(`{"names":["b"],"forse":""}`)) + `"}`
	require.Len(t, fits, maxDocument)
	require.Equal(t, 400, n.send("POST", remove, fits).status)
	for _, more := range []string{" ", strings.Repeat(" ", 4<<20)} {
		got := n.send("POST", remove, fits+more)
		require.Equal(t, 413, got.status)
		require.Equal(t, "too large: the request's JSON is too large: it may have 524288 bytes\n", got.body)
	}
	rec := httptest.NewRecorder()
	n.handler.ServeHTTP(rec, httptest.NewRequest("POST", verify, failingReader{}))
	require.Equal(t, 400, rec.Code)
	require.Contains(t, rec.Body.String(), "the request did not arrive whole")
}

// TestReshapeFromAnotherSite: no strange page may make a browser do it.
func TestReshapeFromAnotherSite(t *testing.T) {
	n := serve(t, nil)
	n.admin.leave = func(context.Context) error { panic("left") }
	for target, method := range map[string]string{"/v1/agent/leave": "PUT", "/v1/agent/force-leave/b": "PUT", "/v1/ring/remove": "POST", "/v1/ring/verify": "POST"} {
		require.Equal(t, 403, n.send(method, target, `{"names":["b"]}`, "Sec-Fetch-Site", "cross-site").status, target)
	}
}

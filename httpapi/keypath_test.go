package httpapi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

var strangeKeys = []string{
	"a", "a/", "a//b", "a/../b", "a/./b", "..", ".", "../x", "a/..", "a//", "ü", "日本/語", "%2F", "a%2Fb", "%", "%25", "a b", " ", "a?b", "?", "a#b", "#",
	"a+b", "+", "a&b=c;d", "a:b", "http://x/y", "\\", "\"", "<&>", "~user", "[x]", "*", "v1/kv/a", "recurse", "\u2028", "\ufeff",
}

func TestStrangeKeysSurvive(t *testing.T) {
	n := serve(t, nil)
	c := n.client()
	ctx := t.Context()
	for _, key := range strangeKeys {
		_, err := c.Put(ctx, key, []byte(key), backend.PutOptions{})
		require.NoError(t, err, "put %q", key)
	}
	page, err := c.List(ctx, backend.ListQuery{})
	require.NoError(t, err)
	require.ElementsMatch(t, strangeKeys, page.Names())
	for _, key := range strangeKeys {
		e, err := c.Get(ctx, key, backend.GetOptions{})
		require.NoError(t, err)
		require.NotNil(t, e, "%q", key)
		require.Equal(t, key, e.Key)
		require.Equal(t, key, string(e.Value))

		page, err := c.List(ctx, backend.ListQuery{Prefix: key, Limit: 1, Values: true})
		require.NoError(t, err)
		require.Equal(t, key, page.Items[0].Entry.Key)

		location, err := c.Locate(ctx, key)
		require.NoError(t, err)
		require.Equal(t, key, location.Key)

		e, err = c.Pop(ctx, key)
		require.NoError(t, err)
		require.Equal(t, key, e.Key)
		require.NoError(t, c.Delete(ctx, key, backend.DeleteOptions{If: backend.IfAbsent()}))
	}
}

// TestPathsAreDecodedOnceAndNeverCleaned names the key that each spelling of a
// path stands for, among them those of clients that escape more than they must.
func TestPathsAreDecodedOnceAndNeverCleaned(t *testing.T) {
	n := serve(t, nil)
	for path, key := range map[string]string{
		"a//b": "a//b", "a/../b": "a/../b", "a/./b": "a/./b", "..": "..", "a%2Fb": "a/b", "a%2fb": "a/b", "%2E%2E/b": "../b",
		"a%252Fb": "a%2Fb", "a+b": "a+b", "a%2Bb": "a+b", "a%20b": "a b", "%C3%BC": "ü", "a%3Fb": "a?b", "a%23b": "a#b", "%61": "a", "a/": "a/", "a;b": "a;b",
	} {
		got := n.send("PUT", "/v1/kv/"+path, "v")
		require.Equal(t, "true", got.body, path)
		require.Equal(t, 200, got.status, path)
		e, err := n.client().Pop(t.Context(), key)
		require.NoError(t, err)
		require.NotNil(t, e, "%q is not %q", path, key)
	}
	require.Equal(t, 400, n.send("PUT", "/v1/kv/%2Fa", "v").status, "an escaped leading slash is one")
}

// FuzzKVPath puts and gets through any path: no path is redirected, cleaned or a
// fault, and each valid key is stored under exactly the decoded path.
func FuzzKVPath(f *testing.F) {
	for _, key := range strangeKeys {
		f.Add((&url.URL{Path: key}).EscapedPath())
		f.Add(url.PathEscape(key))
	}
	f.Add("%FF")
	f.Add("/a")
	f.Fuzz(func(t *testing.T, path string) {
		target := "/v1/kv/" + path
		u, err := url.ParseRequestURI(target)
		if err != nil || u.RawQuery != "" || u.ForceQuery {
			return
		}
		store := memory.New(backend.DefaultLimits())
		h := New(Config{Backend: store, Admin: newAdmin()})
		send := func(method string) *httptest.ResponseRecorder {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, &http.Request{
				Method: method, URL: u, Header: http.Header{}, Body: io.NopCloser(http.NoBody),
				Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "127.0.0.1", RequestURI: target,
			})
			return rec
		}
		key := u.Path[len("/v1/kv/"):]
		put := send(http.MethodPut)
		if bad := backend.DefaultLimits().CheckKey(key); bad != nil {
			if want := statuses[backend.CodeOf(bad)]; put.Code != want {
				t.Fatalf("PUT %q: status %d, want %d for %v", target, put.Code, want, bad)
			}
			return
		}
		if put.Code != http.StatusOK || put.Body.String() != "true" {
			t.Fatalf("PUT %q: %d %s", target, put.Code, put.Body)
		}
		e, err := store.Get(t.Context(), key, backend.GetOptions{})
		if err != nil || e == nil {
			t.Fatalf("PUT %q did not store %q: %v", target, key, err)
		}
		if got := send(http.MethodGet); got.Code != http.StatusOK {
			t.Fatalf("GET %q: %d %s", target, got.Code, got.Body)
		}
	})
}

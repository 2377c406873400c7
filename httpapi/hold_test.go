package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// TestLocksOfConsulsClient takes and releases a lock as Consul's clients do.
func TestLocksOfConsulsClient(t *testing.T) {
	n := serve(t, nil)
	a, b := n.session(""), n.session(`{"LockDelay":"0s"}`)
	entry := func(lock, flags int, value, session string) string {
		if session != "" {
			session = `"Session":"` + session + `",`
		}
		return fmt.Sprintf(`{"LockIndex":%d,"Key":"l","Flags":%d,"Value":%s,%s`, lock, flags, value, session)
	}
	for _, step := range []struct {
		target, body string
		want         string
		entry        string
	}{
		{"?release=" + a, "", "false", ""},
		{"?acquire=" + a + "&flags=3304740253564472344", "bWU=", "true", entry(1, 3304740253564472344, `"YldVPQ=="`, a)},
		{"?acquire=" + b, "other", "false", entry(1, 3304740253564472344, `"YldVPQ=="`, a)},
		{"?release=" + b, "other", "false", entry(1, 3304740253564472344, `"YldVPQ=="`, a)},
		{"?acquire=" + a, "1", "true", entry(1, 0, `"MQ=="`, a)},
		{"", "2", "true", entry(1, 0, `"Mg=="`, a)},
		{"?release=" + a + "&flags=7", "3", "true", entry(1, 7, `"Mw=="`, "")},
		{"?release=" + a, "4", "false", entry(1, 7, `"Mw=="`, "")},
		{"?acquire=" + b, "", "true", entry(2, 0, "null", b)},
	} {
		got := n.send("PUT", "/v1/kv/l"+step.target, step.body)
		require.Equal(t, step.want, got.body, step.target)
		require.Equal(t, 200, got.status)
		require.Equal(t, step.want == "true", got.header.Get(headerIndex) != "", step.target)
		require.Equal(t, step.want == "false", got.header.Get(headerCode) == "conflict", step.target)
		read := n.send("GET", "/v1/kv/l", "")
		if step.entry == "" {
			require.Equal(t, 404, read.status)
			continue
		}
		require.True(t, strings.HasPrefix(read.body, "["+step.entry), "after %s: %s", step.target, read.body)
		require.Equal(t, got.body == "true", got.header.Get(headerIndex) == read.header.Get("X-Consul-Index"))
	}
	token := n.send("GET", "/v1/kv/l", "").header.Get("X-Consul-Index")
	require.Contains(t, n.send("GET", "/v1/kv/l", "").body, `"LockToken":`+token+"}")
	require.Equal(t, "true", n.send("PUT", "/v1/session/destroy/"+b, "").body)
	require.NotContains(t, n.send("GET", "/v1/kv/l", "").body, "Session")
	require.Equal(t, "true", n.send("PUT", "/v1/kv/l?acquire="+a, "").body)
	require.Equal(t, "true", n.send("PUT", "/v1/session/destroy/"+a, "").body)
	require.Equal(t, "false", n.send("PUT", "/v1/kv/l?acquire="+n.session(""), "").body, "the lock delay of the last holder")
	got := n.send("PUT", "/v1/kv/l?acquire="+a, "")
	require.Equal(t, 500, got.status)
	require.Contains(t, got.body, "invalid session")
}

// TestLockValuesAreBounded as others are.
func TestLockValuesAreBounded(t *testing.T) {
	n := serve(t, func(cfg *Config) { cfg.MaxValueSize = 10 })
	s := n.session("")
	requireTooLarge(t, n.send("PUT", "/v1/kv/l?acquire="+s, strings.Repeat("x", 11)))
	require.Equal(t, 404, n.send("GET", "/v1/kv/l", "").status)
}

// TestOwnParameters are expiry and fences of plain writes.
func TestOwnParameters(t *testing.T) {
	n := serve(t, nil)
	c := n.client()
	require.Equal(t, "true", n.send("PUT", "/v1/kv/k?expires_after=90s", "v").body)
	require.Contains(t, n.send("GET", "/v1/kv/k", "").body, `,"ExpiresAfter":"1m30s"}`)

	first, err := c.Lock(t.Context(), backend.LockOptions{Key: "l"})
	require.NoError(t, err)
	fence := func(l backend.Lock) string { return fmt.Sprintf("?fence_key=l&fence_token=%d", l.Token()) }
	require.Equal(t, "true", n.send("POST", "/v1/chord/fence"+fence(first), "").body)
	require.Equal(t, "true", n.send("PUT", "/v1/kv/k"+fence(first), "v").body)
	require.NoError(t, first.Unlock(t.Context()))
	second, err := c.Lock(t.Context(), backend.LockOptions{Key: "l"})
	require.NoError(t, err)
	require.Equal(t, "true", n.send("POST", "/v1/chord/fence"+fence(second), "").body)
	for _, method := range []string{"PUT", "DELETE"} {
		got := n.send(method, "/v1/kv/k"+fence(first), "wrong")
		require.Equal(t, 409, got.status)
		require.Equal(t, "fenced", got.header.Get(headerCode))
		require.Equal(t, 409, n.send("DELETE", "/v1/kv/"+fence(first)+"&recurse", "").status)
	}
	s := n.session("")
	require.Equal(t, 409, n.send("PUT", "/v1/kv/k"+fence(first)+"&acquire="+s, "").status)
	require.Equal(t, "v", n.send("GET", "/v1/kv/k?raw", "").body)
	require.Equal(t, 409, n.send("POST", "/v1/chord/fence"+fence(first), "").status)
	require.Equal(t, 400, n.send("POST", "/v1/chord/fence", "").status)
	require.Equal(t, 400, n.send("POST", "/v1/chord/fence?fence_key=l&fence_token=x", "").status)
	require.NoError(t, second.Unlock(t.Context()))
}

// TestDeleteLargeTree deletes in parts what one transaction can not, and what a
// backend without transactions has.
func TestDeleteLargeTree(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	for _, b := range []backend.Backend{store, watching{store, store}} {
		for i := range backend.MaxTxnTree + 1 {
			_, err := store.Put(t.Context(), fmt.Sprintf("t/%05d", i), nil, backend.PutOptions{})
			require.NoError(t, err)
		}
		_, err := store.Put(t.Context(), "tt", nil, backend.PutOptions{})
		require.NoError(t, err)
		n := serve(t, func(cfg *Config) { cfg.Backend = b })
		require.Equal(t, "true", n.send("DELETE", "/v1/kv/t/?recurse", "").body)
		require.Equal(t, `["tt"]`, n.send("GET", "/v1/kv/?keys", "").body)
	}
}

// TestDeleteTreeIsOneTransaction where it may be: nothing is deleted one by one.
func TestDeleteTreeIsOneTransaction(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	for i := range backend.MaxTxnTree {
		_, err := store.Put(t.Context(), fmt.Sprintf("t/%05d", i), nil, backend.PutOptions{})
		require.NoError(t, err)
	}
	n := serve(t, func(cfg *Config) { cfg.Backend = onlyTransactions{&scripted{}, store} })
	require.Equal(t, "true", n.send("DELETE", "/v1/kv/t/?recurse", "").body)
	page, err := store.List(t.Context(), backend.ListQuery{})
	require.NoError(t, err)
	require.Empty(t, page.Items)
}

// onlyTransactions is a backend whose other calls panic.
type onlyTransactions struct {
	*scripted
	backend.Transactional
}

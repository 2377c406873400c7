package httpapi

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// TestLongListings are refused whole, and can be paged through.
func TestLongListings(t *testing.T) {
	n := serve(t, nil)
	n.handler.maxItems = 3
	c := n.client()
	for _, key := range []string{"a", "b", "c"} {
		_, err := c.Put(t.Context(), key, nil, backend.PutOptions{})
		require.NoError(t, err)
	}
	require.Equal(t, `["a","b","c"]`, n.send("GET", "/v1/kv/?keys", "").body, "at the limit")
	_, err := c.Put(t.Context(), "d", nil, backend.PutOptions{})
	require.NoError(t, err)
	for _, target := range []string{"/v1/kv/?keys", "/v1/kv/?recurse", "/v1/chord/list", "/v1/chord/list?limit=4"} {
		got := n.send("GET", target, "")
		require.Equal(t, 413, got.status, target)
		require.Contains(t, got.body, "more than 3 names lie under the prefix")
		require.NotContains(t, got.body, "Value exceeds")
	}
	_, err = c.List(t.Context(), backend.ListQuery{})
	require.ErrorIs(t, err, backend.ErrTooLarge)
	page, err := c.List(t.Context(), backend.ListQuery{Limit: 3})
	require.NoError(t, err)
	require.True(t, page.More)
	page, err = c.List(t.Context(), backend.ListQuery{Limit: 3, After: "c"})
	require.NoError(t, err)
	require.Equal(t, []string{"d"}, page.Names())
}

// tight is a backend of small keys and values.
type tight struct{ *scripted }

func (tight) Limits() backend.Limits { return backend.Limits{MaxKeySize: 10, MaxValueSize: 100} }

// listed is a node whose listings may have 3,200 bytes, of values of 100 bytes at
// most, with 50 values of a size under "p/", and what its listings asked for.
func listed(t *testing.T, size int) (n *node, asked *[]backend.ListQuery, largest *int) {
	store := memory.New(tight{}.Limits())
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	for i := range 50 {
		_, err := store.Put(t.Context(), fmt.Sprintf("p/%02d", i), []byte(strings.Repeat("v", size)), backend.PutOptions{})
		require.NoError(t, err)
	}
	asked, largest = new([]backend.ListQuery), new(int)
	s := &scripted{list: func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
		*asked = append(*asked, q)
		page, err := store.List(ctx, q)
		if err == nil {
			_, bytes := fitting(page, 1<<30)
			*largest = max(*largest, bytes)
		}
		return page, err
	}}
	n = serve(t, func(cfg *Config) { cfg.Backend, cfg.RequestTimeout = tight{s}, 50*time.Millisecond })
	n.handler.maxBytes = 3200
	return n, asked, largest
}

// TestListingOfManyBytes is refused before so much was read, and can be paged
// through.
func TestListingOfManyBytes(t *testing.T) {
	n, asked, largest := listed(t, 90) // 4,700 bytes
	for _, target := range []string{"/v1/kv/p/?recurse", "/v1/kv/p/?recurse&index=1", "/v1/chord/list?prefix=p/&values"} {
		*asked, *largest = nil, 0
		got := n.send("GET", target, "")
		require.Equal(t, 413, got.status, target)
		require.Contains(t, got.body, "more than 3200 bytes of names and values; take a narrower one, page with /v1/chord/list, or use chord-plugin export")
		require.Less(t, *largest, 3200, "%s %v", target, *asked)
		require.Empty(t, n.handler.listings, "it keeps its place")
	}
	require.Equal(t, 200, n.send("GET", "/v1/kv/p/?keys", "").status, "the names are fewer bytes")
	var names []string
	page := &backend.ListResult{More: true}
	for after := ""; page.More; after = names[len(names)-1] {
		var err error
		page, err = n.client().List(t.Context(), backend.ListQuery{Prefix: "p/", After: after, Values: true, Limit: 45})
		require.NoError(t, err)
		_, size := fitting(page, 1<<30)
		require.LessOrEqual(t, size, 3200)
		names = append(names, page.Names()...)
	}
	require.Len(t, names, 50)
	require.Equal(t, "p/49", names[49])
}

// TestListingIsOfOneMoment: what was measured part by part is read again as a whole.
func TestListingIsOfOneMoment(t *testing.T) {
	n, asked, _ := listed(t, 50)
	require.Equal(t, 50, strings.Count(n.send("GET", "/v1/kv/p/?recurse", "").body, `"Key"`))
	require.Greater(t, len(*asked), 2)
	require.Equal(t, backend.ListQuery{Prefix: "p/", Values: true, Limit: maxListItems}, (*asked)[len(*asked)-1])
	*asked = nil
	require.Equal(t, 10, strings.Count(n.send("GET", "/v1/kv/p/0?recurse", "").body, `"Key"`))
	require.Len(t, *asked, 1, "what is small for sure")
	page, err := n.client().List(t.Context(), backend.ListQuery{Prefix: "p/", Values: true, Limit: 40})
	require.NoError(t, err)
	require.Len(t, page.Items, 40)
	require.True(t, page.More)
}

// TestPlacesOfListings: few large ones run at once; small ones need no place.
func TestPlacesOfListings(t *testing.T) {
	n, _, _ := listed(t, 50)
	for range maxListings {
		n.handler.listings <- struct{}{}
	}
	require.Equal(t, 200, n.send("GET", "/v1/kv/p/00?recurse", "").status)
	got := n.send("GET", "/v1/kv/p/?recurse", "")
	require.Equal(t, 503, got.status)
	require.Equal(t, "not ready: key \"p/\": 4 large listings are under way, and this one found no place in time; try again, or take a narrower prefix\n", got.body)
	<-n.handler.listings
	require.Equal(t, 200, n.send("GET", "/v1/kv/p/?recurse", "", headerTimeout, "10s").status)
	require.Eventually(t, func() bool { return len(n.handler.listings) == maxListings-1 }, 10*time.Second, time.Millisecond, "the place is free once the answer has left")
}

// TestIndexOfManyZeros is index 0, which does not wait and has no place of those that
// do.
func TestIndexOfManyZeros(t *testing.T) {
	n := serve(t, nil)
	n.send("PUT", "/v1/kv/k", "v")
	n.handler.waiting = make(chan struct{})
	for _, index := range []string{"", "0", "00", "000000"} {
		require.Equal(t, 200, n.send("GET", "/v1/kv/k?index="+index, "").status, index)
	}
	require.Equal(t, 503, n.send("GET", "/v1/kv/k?index=1", "").status)
}

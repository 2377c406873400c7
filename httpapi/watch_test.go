package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

// later sends a request that is to wait, and returns once it does.
func (n *node) later(target string) <-chan response {
	n.t.Helper()
	got := make(chan response, 1)
	waiting := n.handler.Stats().Waiting
	go func() { got <- n.send("GET", target, "") }()
	require.Eventually(n.t, func() bool { return n.handler.Stats().Waiting > waiting }, 10*time.Second, time.Millisecond, target)
	return got
}

// TestBlockingQueries: a query with an index is answered when something has
// changed, with what there is then.
func TestBlockingQueries(t *testing.T) {
	n := serve(t, nil)
	change := map[string]func(){
		"put":    func() { n.send("PUT", "/v1/kv/b/k", "new") },
		"delete": func() { n.send("DELETE", "/v1/kv/b/k", "") },
	}
	for _, step := range []struct {
		change, target string
		status         int
		body           string
	}{
		{"put", "/v1/kv/b/k?raw", 200, "new"},
		{"put", "/v1/kv/b/?keys", 200, `["b/k"]`},
		{"put", "/v1/kv/?keys&separator=/", 200, `["b/"]`},
		{"delete", "/v1/kv/b/k?raw", 404, ""},
		{"delete", "/v1/kv/b/?recurse", 404, ""},
		{"delete", "/v1/kv/?keys", 200, `[]`},
	} {
		for _, present := range []bool{true, false} { // before
			if !present && step.change == "delete" {
				continue
			}
			name := fmt.Sprint(step, present)
			change[map[bool]string{true: "put", false: "delete"}[present]]()
			index := n.send("GET", step.target, "").header.Get("X-Consul-Index")
			// Of a key that is not there anybody's newest index is told at first.
			index = n.send("GET", step.target+"&wait=1ms&index="+index, "").header.Get("X-Consul-Index")
			got := n.later(step.target + "&wait=60s&index=" + index)
			select {
			case <-got:
				t.Fatal("it does not wait: ", name)
			case <-time.After(5 * time.Millisecond):
			}
			change[step.change]()
			answer := <-got
			require.Equal(t, step.status, answer.status, name)
			require.Equal(t, step.body, answer.body, name)
			require.NotEqual(t, index, answer.header.Get("X-Consul-Index"), name)
			again := n.send("GET", step.target+"&wait=1ms&index="+answer.header.Get("X-Consul-Index"), "")
			require.Equal(t, again.header.Get("X-Consul-Index"), answer.header.Get("X-Consul-Index"), name)
		}
	}
}

// TestBlockingQueryOfNothing: who is told the newest index of the server for a key
// that was never there waits with it, and is told the same when the time is over.
func TestBlockingQueryOfNothing(t *testing.T) {
	n := serve(t, nil)
	n.send("PUT", "/v1/kv/other", "v")
	for _, target := range []string{"/v1/kv/none?x", "/v1/kv/none/?recurse", "/v1/kv/none/?keys"} {
		index := n.send("GET", target, "").header.Get("X-Consul-Index")
		require.Equal(t, "2", index)
		began := time.Now()
		again := n.send("GET", target+"&wait=30ms&index="+index, "")
		require.GreaterOrEqual(t, time.Since(began), 30*time.Millisecond, target)
		require.Equal(t, 404, again.status)
		require.Equal(t, index, again.header.Get("X-Consul-Index"))
		got := n.later(target + "&wait=60s&index=" + index)
		n.send("PUT", "/v1/kv/none", "v")
		n.send("PUT", "/v1/kv/none/below", "v")
		require.Equal(t, 200, (<-got).status)
		n = serve(t, nil)
		n.send("PUT", "/v1/kv/other", "v")
	}
}

// TestBlockingQueryEnds: at once for an index that is not that of the state, when
// its time is over, and when there is no place.
func TestBlockingQueryEnds(t *testing.T) {
	n := serve(t, nil)
	n.send("PUT", "/v1/kv/k", "v")
	for _, index := range []string{"1", "3", "9007199254740991"} {
		got := n.send("GET", "/v1/kv/k?raw&wait=60s&index="+index, "")
		require.Equal(t, "v", got.body)
		require.Equal(t, "2", got.header.Get("X-Consul-Index"))
	}
	began := time.Now()
	got := n.send("GET", "/v1/kv/k?raw&wait=30ms&index=2", "")
	require.GreaterOrEqual(t, time.Since(began), 30*time.Millisecond)
	require.Equal(t, "v", got.body)
	require.Equal(t, "2", got.header.Get("X-Consul-Index"))
	got = n.send("GET", "/v1/kv/k?raw&index=2", "", headerTimeout, "30ms")
	require.Equal(t, http.StatusServiceUnavailable, got.status, "its own time was over first")

	full := serve(t, nil)
	full.handler.waiting = make(chan struct{}, 1)
	full.send("PUT", "/v1/kv/k", "v")
	waits := full.later("/v1/kv/k?raw&wait=60s&index=2")
	got = full.send("GET", "/v1/kv/k?raw&wait=60s&index=2", "")
	require.Equal(t, http.StatusServiceUnavailable, got.status)
	require.Equal(t, 200, full.send("GET", "/v1/kv/k", "").status, "others have places of their own")
	full.send("PUT", "/v1/kv/k", "w")
	require.Equal(t, "w", (<-waits).body)
}

func TestWaitOf(t *testing.T) {
	for asked, want := range map[string]time.Duration{"": defaultWait, "0s": defaultWait, "3s": 3 * time.Second, "11m": maxWait} {
		require.Equal(t, want, waitOf(map[string][]string{"wait": {asked}}), asked)
	}
}

// blind is a backend that cannot watch.
type blind struct{ backend.Backend }

// TestWithoutWatches: where the backend can not watch, nothing waits.
func TestWithoutWatches(t *testing.T) {
	n := serve(t, func(cfg *Config) { cfg.Backend = blind{memory.New(backend.DefaultLimits())} })
	n.send("PUT", "/v1/kv/k", "v")
	require.Equal(t, 200, n.send("GET", "/v1/kv/k?index=2", "").status)
	c := n.client()
	require.Zero(t, backend.CapabilitiesOf(c))
	_, err := c.Watch(t.Context(), backend.WatchQuery{Key: "k"})
	require.Equal(t, backend.Invalid, backend.CodeOf(err))

	n.Close()
	gone, err := NewClient(ClientConfig{Addr: n.Listener.Addr().String()})
	require.NoError(t, err)
	defer gone.Close()
	require.Zero(t, backend.CapabilitiesOf(gone), "nobody was asked")
}

// TestWatchesLeaveConnections: those who wait do not keep others of the same
// client from reading.
func TestWatchesLeaveConnections(t *testing.T) {
	n := serve(t, nil)
	c := n.client()
	index, err := c.Put(t.Context(), "k", nil, backend.PutOptions{})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, maxConns+10)
	for range cap(ended) {
		go func() {
			_, err := c.Watch(ctx, backend.WatchQuery{Key: "k", After: index})
			ended <- err
		}()
	}
	require.Eventually(t, func() bool { return n.handler.Stats().Waiting == cap(ended) }, 20*time.Second, time.Millisecond)
	_, err = c.Get(ctx, "k", backend.GetOptions{})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	for range cap(ended) {
		require.Equal(t, backend.Closed, backend.CodeOf(<-ended))
	}
}

// belated is a backend whose watches end for nothing, as those of a prefix may: a
// change came late, whose stamp is below the prefix's index.
type belated struct{ watching }

func (b belated) Watch(ctx context.Context, q backend.WatchQuery) (uint64, error) {
	if ctx.Err() != nil {
		return 0, backend.Errorf(backend.NoQuorum, "", "nothing happened")
	}
	return q.After, nil
}

// TestBelatedChange: Consul's clients throw away what comes under the index that
// they have, so that a watch of a prefix that ends before its time gives another.
func TestBelatedChange(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	n := serve(t, func(cfg *Config) { cfg.Backend = belated{watching{store, store}} })
	n.send("PUT", "/v1/kv/b/k", "v")
	n.send("PUT", "/v1/kv/b/l", "v")
	for target, lower := range map[string]string{"/v1/kv/b/?recurse": "2", "/v1/kv/b/?keys": "2", "/v1/kv/none/?keys": "2", "/v1/kv/b/k?x": "2"} {
		first := n.send("GET", target, "")
		got := n.send("GET", target+"&wait=60s&index="+first.header.Get("X-Consul-Index"), "")
		require.Equal(t, first.body, got.body, target)
		require.Equal(t, lower, got.header.Get("X-Consul-Index"), target)
	}
	require.Equal(t, "1", n.send("GET", "/v1/kv/none/?keys&wait=60s&index=1", "").header.Get("X-Consul-Index"), "never 0")
}

// lagging is a backend whose stale reads find what an owner has that missed the
// changes.
type lagging struct {
	watching
	old *backend.Entry
}

func (l *lagging) Get(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
	if opts.Stale {
		return l.old, nil
	}
	return l.watching.Get(ctx, key, opts)
}

// TestBlockingStaleQuery: a blocking query reads what belongs to its index, also with
// ?stale, and who read nothing by that is told no index of the key.
func TestBlockingStaleQuery(t *testing.T) {
	store := memory.New(backend.DefaultLimits())
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	b := &lagging{watching: watching{store, store}}
	n := serve(t, func(cfg *Config) { cfg.Backend = b })
	n.send("PUT", "/v1/kv/k", "v")
	missed := n.send("GET", "/v1/kv/k?raw&stale", "")
	require.Equal(t, 404, missed.status)
	got := n.send("GET", "/v1/kv/k?raw&stale&wait=60s&index="+missed.header.Get("X-Consul-Index"), "", headerTimeout, "10s")
	require.Equal(t, "v", got.body, "the change is missed")
	require.Equal(t, "2", got.header.Get("X-Consul-Index"))

	b.old = &backend.Entry{Key: "k", Value: []byte("v"), CreateIndex: 2, ModifyIndex: 2}
	n.send("PUT", "/v1/kv/k", "w")
	old := n.send("GET", "/v1/kv/k?raw&stale", "")
	require.Equal(t, "v", old.body)
	require.Equal(t, "2", old.header.Get("X-Consul-Index"))
	got = n.send("GET", "/v1/kv/k?raw&stale&wait=60s&index=2", "")
	require.Equal(t, "w", got.body)
	require.Equal(t, "3", got.header.Get("X-Consul-Index"))
}

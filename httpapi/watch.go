package httpapi

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// defaultWait is how long a blocking query waits that names no time, and
	// maxWait how long it may ask for. A part of up to waitSpread is added by
	// chance, so that those who asked together do not come back together.
	defaultWait = 5 * time.Minute
	maxWait     = 10 * time.Minute
	waitSpread  = 16
	// maxWaiting is how many blocking queries and watches wait at once; a further
	// one gets 503. They have places of their own: those who wait do not keep
	// others from reading and writing.
	maxWaiting = 16384
)

// waits reports whether r may take long because it waits for a change.
func (h *Handler) waits(r *http.Request) bool {
	if !isRead(r.Method) {
		return false
	}
	if h.watcher != nil && r.URL.Path == "/v1/chord/watch" {
		return true
	}
	_, isKV := keyOf(r.URL.Path, "/v1/kv/")
	if !(isKV && h.watcher != nil) && !strings.HasPrefix(r.URL.Path, "/v1/session/") {
		return false
	}
	index, err := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	return err == nil && index > 0 // as parseQuery reads it
}

// usual is the time that a request of a key may take which names none.
func (h *Handler) usual(r *http.Request) time.Duration {
	if !h.waits(r) {
		return h.cfg.RequestTimeout
	}
	wait := waitOf(r.URL.Query())
	return wait + wait/waitSpread + h.cfg.RequestTimeout
}

// waitOf returns how long a blocking query is to wait. What is no duration is
// refused by parseQuery.
func waitOf(q url.Values) time.Duration {
	wait, err := time.ParseDuration(q.Get("wait"))
	if err != nil || wait <= 0 {
		return defaultWait
	}
	return min(wait, maxWait)
}

// found is what a read found: the index of it, 0 where nothing is known of one, and
// whether there is nothing.
type found struct {
	index uint64
	none  bool
}

// blocked runs read, for a blocking query once the state has another index than
// the caller has seen or the time is over, and returns the index to answer with.
//
// Who reads nothing is told of the newest index that this server had met, which
// the state itself never had, or of 1 when that was not looked up in a quorum. So nothing is waited for again, from the state's own
// index, when that is below the caller's.
//
// A watch of a prefix may end with the index of before and another state. Consul's
// clients throw away what comes under the index that they have, and begin anew at a
// lower one: such an end is told as that.
func (h *Handler) blocked(ctx context.Context, q query, what backend.WatchQuery, read func(ctx context.Context) (found, error)) (uint64, error) {
	before := h.seen(0) // before the read: a later change has a higher index
	if q.index == 0 || h.watcher == nil {
		f, err := read(ctx)
		if f.index == 0 {
			f.index = before
		}
		return f.index, err
	}
	wait := waitOf(q.Values)
	waiting, cancel := context.WithTimeout(ctx, wait+rand.N(wait/waitSpread+1))
	defer cancel()
	what.After = q.index
	at, over, err := h.await(ctx, waiting, what)
	if err != nil {
		return 0, err
	}
	f, err := h.reread(ctx, read)
	if err == nil && f.none && at < q.index {
		what.After = at
		if at, over, err = h.await(ctx, waiting, what); err != nil {
			return 0, err
		}
		f, err = h.reread(ctx, read)
	}
	switch {
	case f.none:
		f.index = max(f.index, at, q.index)
	case what.Key == "":
		f.index = max(f.index, at)
	}
	if what.Key == "" && !over && f.index == q.index {
		f.index = below(q.index)
	}
	return f.index, err
}

// below is the index that makes Consul's clients begin anew who have seen index.
func below(index uint64) uint64 { return max(index-1, 1) }

// await watches until the state is another, or waiting is over.
func (h *Handler) await(ctx, waiting context.Context, what backend.WatchQuery) (index uint64, over bool, err error) {
	index, err = h.watcher.Watch(waiting, what)
	if err != nil && ctx.Err() == nil && waiting.Err() != nil && backend.CodeOf(err) == backend.NoQuorum {
		return what.After, true, nil
	}
	return index, false, err
}

// reread runs read at one of the places of those that do not wait.
func (h *Handler) reread(ctx context.Context, read func(ctx context.Context) (found, error)) (found, error) {
	select {
	case h.data <- struct{}{}:
		defer func() { <-h.data }()
		return read(ctx)
	case <-ctx.Done():
		return found{}, ctx.Err()
	}
}

// wireWatch is the answer of /v1/chord/watch.
type wireWatch struct {
	Index uint64 `json:"index"`
}

// watch answers GET /v1/chord/watch: what backend.Watcher's Watch returns.
func (h *Handler) watch(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	if h.watcher == nil {
		return backend.Errorf(backend.Invalid, "", "the backend of this agent cannot watch; poll")
	}
	what := backend.WatchQuery{Key: q.Get("key"), Prefix: q.Get("prefix")}
	if what.After, _, err = q.number("after"); err != nil {
		return backend.Errorf(backend.Invalid, "", "Invalid after: %w", err)
	}
	index, err := h.watcher.Watch(r.Context(), what)
	if err != nil {
		return asError(err, what.Key+what.Prefix, false)
	}
	return writeJSON(w, r, http.StatusOK, wireWatch{Index: index})
}

// Watch waits with GET /v1/chord/watch. At most maxWatching calls wait at a time;
// further ones wait for their turn.
func (c *Client) Watch(ctx context.Context, q backend.WatchQuery) (uint64, error) {
	what := call{method: http.MethodGet, path: "/v1/chord/watch", key: q.Key + q.Prefix, waits: true, query: url.Values{}}
	for name, value := range map[string]string{"key": q.Key, "prefix": q.Prefix} {
		if value != "" {
			what.query.Set(name, value)
		}
	}
	what.query.Set("after", strconv.FormatUint(q.After, 10))
	got, err := c.do(ctx, what)
	if err != nil {
		return 0, err
	}
	var wire wireWatch
	err = c.decode(what, got, &wire)
	return wire.Index, err
}

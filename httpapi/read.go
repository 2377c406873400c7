package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/chord-plugin/chord-plugin/backend"
)

// errNoKey is what Consul says to a request that needs a key and has none.
func errNoKey() error { return backend.Errorf(backend.Invalid, "", "Missing key name") }

// kvGet answers GET /v1/kv/KEY: one key, the entries under a prefix (?recurse),
// or their names (?keys).
// With ?index it waits; see blocked.
func (h *Handler) kvGet(key string) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := parseQuery(r)
		switch {
		case err != nil:
			return err
		case q.Has("keys"):
			return h.kvKeys(w, r, q, key)
		case q.Has("recurse"):
			return h.kvRecurse(w, r, q, key)
		case key == "":
			return errNoKey()
		}
		var e *backend.Entry
		index, err := h.blocked(r.Context(), q, backend.WatchQuery{Key: key}, func(ctx context.Context) (found, error) {
			var err error
			// A blocking query is to find what belongs to the index that it waited for.
			stale := q.stale && q.index == 0
			switch e, err = h.cfg.Backend.Get(ctx, key, backend.GetOptions{Stale: stale}); {
			case err != nil || e == nil && !stale:
				return found{none: true}, err
			case e == nil:
				return found{index: 1, none: true}, nil // the newest may be the key's own
			}
			return found{index: e.ModifyIndex}, nil
		})
		if err != nil {
			return asError(err, key, false)
		}
		known := true
		if q.stale {
			known = h.knownLeader(r.Context())
		}
		if e == nil {
			h.setMeta(w, index, known)
			writeBody(w, http.StatusNotFound, nil)
			return nil
		}
		h.setMeta(w, index, known)
		if q.Has("raw") {
			writeRaw(w, e.Value)
			return nil
		}
		return writeJSON(w, r, http.StatusOK, []wireEntry{toWire(e)})
	}
}

// writeRaw writes a value as it is. A value may be a page made by somebody else,
// so browsers are told not to guess its type and not to run it.
func writeRaw(w http.ResponseWriter, value []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "sandbox")
	writeBody(w, http.StatusOK, value)
}

// kvRecurse answers with every entry under a prefix; 404 when there is none.
func (h *Handler) kvRecurse(w http.ResponseWriter, r *http.Request, q query, prefix string) error {
	page, index, err := h.blockedPage(r.Context(), q, backend.ListQuery{Prefix: prefix, Values: true})
	if err != nil {
		return err
	}
	h.setMeta(w, index, true)
	if len(page.Items) == 0 {
		writeBody(w, http.StatusNotFound, nil)
		return nil
	}
	entries := make([]wireEntry, len(page.Items))
	for i := range page.Items {
		entries[i] = toWire(page.Items[i].Entry)
	}
	return writeJSON(w, r, http.StatusOK, entries)
}

// kvKeys answers with names, folded at the separator. No names are 404, but an
// empty array for the root.
func (h *Handler) kvKeys(w http.ResponseWriter, r *http.Request, q query, prefix string) error {
	separator := q.Get("seperator")
	if q.Has("separator") {
		separator = q.Get("separator")
	}
	page, index, err := h.blockedPage(r.Context(), q, backend.ListQuery{Prefix: prefix, Separator: separator})
	if err != nil {
		return err
	}
	h.setMeta(w, index, true)
	if len(page.Items) == 0 && prefix != "" {
		writeBody(w, http.StatusNotFound, nil)
		return nil
	}
	return writeJSON(w, r, http.StatusOK, page.Names())
}

// blockedPage is page, for a blocking query once something has changed; with the
// index to answer with.
func (h *Handler) blockedPage(ctx context.Context, q query, list backend.ListQuery) (page *backend.ListResult, index uint64, err error) {
	index, err = h.blocked(ctx, q, backend.WatchQuery{Prefix: list.Prefix}, func(ctx context.Context) (found, error) {
		var err error
		if page, err = h.page(ctx, h.cfg.Backend, list); err != nil {
			return found{}, err
		}
		return found{index: page.Index, none: len(page.Items) == 0}, nil
	})
	return page, index, err
}

// setMeta sets the headers that Consul's clients read after every read. Index 0
// stands for nothing found.
func (h *Handler) setMeta(w http.ResponseWriter, index uint64, known bool) {
	newest := h.seen(index)
	if index == 0 {
		index = newest
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(index, 10))
	w.Header().Set("X-Consul-KnownLeader", strconv.FormatBool(known))
	w.Header().Set("X-Consul-LastContact", "0")
}

// knownLeader reports whether the ring has a quorum. A linearizable read that
// succeeded has just shown it; only a stale one needs to ask.
func (h *Handler) knownLeader(ctx context.Context) bool {
	status, err := h.cfg.Admin.Status(ctx)
	return err == nil && status.Quorum
}

package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/chord-plugin/chord-plugin/backend"
)

// wireLimits is the answer of /v1/chord/limits, in bytes.
type wireLimits struct {
	MaxKeySize   int `json:"max_key_size"`
	MaxValueSize int `json:"max_value_size"`
	// Capabilities is what can be done over this API beyond backend.Backend.
	Capabilities backend.Capability `json:"capabilities"`
}

func (h *Handler) showLimits(w http.ResponseWriter, r *http.Request) error {
	l := h.limits()
	return writeJSON(w, r, http.StatusOK, wireLimits{
		MaxKeySize: l.MaxKeySize, MaxValueSize: l.MaxValueSize,
		// A lock is the client's to make, of the others.
		Capabilities: h.can &^ backend.CanLock,
	})
}

// pop answers POST /v1/chord/pop/KEY with the entry it deleted.
func (h *Handler) pop(key string) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		if key == "" {
			return errNoKey()
		}
		return h.popped(w, r, key, func(ctx context.Context) (*backend.Entry, error) { return h.cfg.Backend.Pop(ctx, key) })
	}
}

// popItem answers POST /v1/chord/popitem with the entry it deleted.
func (h *Handler) popItem(w http.ResponseWriter, r *http.Request) error {
	return h.popped(w, r, "", h.cfg.Backend.PopItem)
}

// popped answers with the entry that pop deletes.
func (h *Handler) popped(w http.ResponseWriter, r *http.Request, key string, pop func(context.Context) (*backend.Entry, error)) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	for _, name := range []string{"fence_key", "fence_token"} {
		if q.Has(name) {
			return backend.Errorf(backend.Invalid, "", "Invalid query parameter: %q - a pop takes no fence; read the key, and delete it with ?cas and the fence", name)
		}
	}
	e, err := pop(r.Context())
	if err != nil {
		return asError(err, key, true)
	}
	if e == nil {
		h.setMeta(w, 0, true)
		writeBody(w, http.StatusNotFound, nil)
		return nil
	}
	h.setMeta(w, e.ModifyIndex, true)
	return writeJSON(w, r, http.StatusOK, []wireEntry{toWire(e)})
}

// list answers GET /v1/chord/list: what backend.Backend's List returns.
func (h *Handler) list(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	ask, err := q.list()
	if err != nil {
		return err
	}
	page, err := h.page(r.Context(), h.cfg.Backend, ask)
	if err != nil {
		return err
	}
	h.setMeta(w, page.Index, true)
	return writePage(w, r, page)
}

// list returns what the parameters of a listing ask for.
func (q query) list() (backend.ListQuery, error) {
	ask := backend.ListQuery{
		Prefix: q.Get("prefix"), Separator: q.Get("separator"), After: q.Get("after"), Values: q.Has("values"),
	}
	if limit := q.Get("limit"); limit != "" {
		var err error
		if ask.Limit, err = strconv.Atoi(limit); err != nil {
			return ask, backend.Errorf(backend.Invalid, "", "Invalid limit %q: give a number of items, or 0 for all", limit)
		}
	}
	return ask, nil
}

func writePage(w http.ResponseWriter, r *http.Request, page *backend.ListResult) error {
	out := wireList{Items: make([]wireItem, len(page.Items)), More: page.More, Index: page.Index}
	for i, it := range page.Items {
		out.Items[i] = wireItem{Name: it.Name, Folded: it.Folded}
		if !utf8.ValidString(it.Name) {
			out.Items[i].RawName = []byte(it.Name)
		}
		if it.Entry != nil {
			e := toWire(it.Entry)
			out.Items[i].Entry = &e
		}
	}
	return writeJSON(w, r, http.StatusOK, out)
}

package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// maxDrain is how much of a refused body is read and thrown away, so that a
	// client which sends before it listens still sees why it was refused.
	maxDrain = 16 << 20
	// deletePage is how many keys a recursive delete lists at a time, and
	// deleteWorkers how many of them it deletes at once.
	deletePage    = 1000
	deleteWorkers = 16
)

// kvPut answers PUT /v1/kv/KEY with true, or with false for a lost cas.
func (h *Handler) kvPut(key string) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := parseQuery(r)
		if err != nil {
			return err
		}
		if key == "" {
			return errNoKey()
		}
		if err := q.exclusive("cas", "acquire", "release"); err != nil {
			return err
		}
		for _, name := range []string{"acquire", "release"} {
			if q.Has(name) {
				return backend.Errorf(backend.Invalid, "", "?%s is not supported by this version, which has no sessions; use ?cas", name)
			}
		}
		flags, _, err := q.number("flags")
		if err != nil {
			return err
		}
		condition, err := q.condition()
		if err != nil {
			return err
		}
		value, err := h.readValue(w, r, key)
		if err != nil {
			return err
		}
		index, err := h.cfg.Backend.Put(r.Context(), key, value, backend.PutOptions{If: condition, Flags: flags})
		if err == nil {
			h.seen(index)
			w.Header().Set(headerIndex, strconv.FormatUint(index, 10))
		}
		return writeOutcome(w, r, key, condition, err)
	}
}

// writeOutcome writes true, false for a condition that did not hold, or returns
// the error.
func writeOutcome(w http.ResponseWriter, r *http.Request, key string, condition backend.Condition, err error) error {
	if err == nil {
		return writeJSON(w, r, http.StatusOK, true)
	}
	var e *backend.Error
	if _, conditional := condition.Index(); conditional && errors.As(err, &e) && e.Code == backend.Conflict {
		setErrorHeaders(w.Header(), e)
		return writeJSON(w, r, http.StatusOK, false)
	}
	return asError(err, key, true)
}

// readValue reads the body of a PUT, never more than the limit.
func (h *Handler) readValue(w http.ResponseWriter, r *http.Request, key string) ([]byte, error) {
	limit := h.limits().MaxValueSize
	if r.ContentLength > int64(limit) {
		// With "Expect: 100-continue" the body has not been sent yet, and
		// reading would ask for it.
		if r.Header.Get("Expect") == "" {
			_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
		}
		return nil, h.tooLarge(key, r.ContentLength, limit)
	}
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		n, _ := io.CopyN(io.Discard, r.Body, maxDrain)
		return nil, h.tooLarge(key, int64(limit)+1+n, limit)
	case err != nil:
		return nil, backend.Errorf(backend.Invalid, key, "the value did not arrive whole: %w", err)
	}
	// From here the connection is read only to notice that the client is gone,
	// which may be at any time. After a failure the deadline stays, because
	// net/http still reads what is left of the body before it answers.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return value, nil
}

// tooLarge words the refusal so that each client finds what it looks for: Vault
// "Value exceeds" or "is too large", Terraform "too large", and our own hosts
// the backend's own text.
func (h *Handler) tooLarge(key string, size int64, limit int) error {
	name := "http_max_value_size"
	if limit < h.cfg.MaxValueSize {
		name = "max_value_size"
	}
	return backend.Errorf(backend.TooLarge, key,
		"put failed due to value being too large: Value exceeds the limit of %d bytes, a body of %d bytes or more is too large; split it, or raise %s on every member", limit, size, name)
}

// kvDelete answers DELETE /v1/kv/KEY with true, or with false for a lost cas.
func (h *Handler) kvDelete(key string) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := parseQuery(r)
		if err != nil {
			return err
		}
		if err := q.exclusive("recurse", "cas"); err != nil {
			return err
		}
		if q.Has("recurse") {
			if err := h.deleteTree(r.Context(), key); err != nil {
				return err
			}
			return writeJSON(w, r, http.StatusOK, true)
		}
		if key == "" {
			return errNoKey()
		}
		condition, err := q.condition()
		if err != nil {
			return err
		}
		return writeOutcome(w, r, key, condition, h.cfg.Backend.Delete(r.Context(), key, backend.DeleteOptions{If: condition}))
	}
}

// deleteTree deletes every key under prefix, one by one. It is not atomic: keys
// that are written meanwhile may stay, and readers may see a part of it.
func (h *Handler) deleteTree(ctx context.Context, prefix string) error {
	deleted := 0
	for after := ""; ; {
		page, err := h.cfg.Backend.List(ctx, backend.ListQuery{Prefix: prefix, After: after, Limit: deletePage})
		if err != nil {
			return partly(asError(err, prefix, false), prefix, deleted)
		}
		n, err := h.deleteAll(ctx, page.Names())
		deleted += n
		if err != nil {
			return partly(err, prefix, deleted)
		}
		if !page.More || len(page.Items) == 0 {
			return nil
		}
		after = page.Items[len(page.Items)-1].Name
	}
}

// deleteAll deletes keys and returns how many it deleted. It stops at the first
// error and returns when all that it began is done.
func (h *Handler) deleteAll(ctx context.Context, keys []string) (deleted int, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := 0
	for range min(deleteWorkers, len(keys)) {
		wg.Go(func() {
			for {
				mu.Lock()
				if err != nil || next == len(keys) {
					mu.Unlock()
					return
				}
				key := keys[next]
				next++
				mu.Unlock()

				failed := h.cfg.Backend.Delete(ctx, key, backend.DeleteOptions{})

				mu.Lock()
				if failed == nil {
					deleted++
				} else if failed = asError(failed, key, true); err == nil || backend.CodeOf(failed) == backend.UnknownOutcome {
					err = failed
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return deleted, err
}

// partly keeps an error from saying "nothing happened" when something did.
func partly(err error, prefix string, deleted int) error {
	if deleted == 0 {
		return err
	}
	return &backend.Error{
		Code: backend.UnknownOutcome, Key: prefix, Cause: err,
		Message: fmt.Sprintf("deleted %d keys under the prefix and then failed; delete again to finish: %s", deleted, strings.TrimSpace(err.Error())),
	}
}

package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// deletePage is how many keys a recursive delete lists at a time, and
	// deleteWorkers how many of them it deletes at once.
	deletePage    = 1000
	deleteWorkers = 16
)

// kvPut answers PUT /v1/kv/KEY with true, or with false for a cas, acquire or
// release that is lost.
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
		opts, err := q.putOptions()
		if err != nil {
			return err
		}
		if opts.If, err = q.condition(); err != nil {
			return err
		}
		for name, verb := range map[string]backend.Verb{"acquire": backend.VerbLock, "release": backend.VerbUnlock} {
			if !q.Has(name) {
				continue
			}
			if err := q.exclusive(name, "expires_after"); err != nil {
				return err
			}
			op := backend.TxnOp{Verb: verb, Key: key, Flags: opts.Flags, Session: q.Get(name), Fence: opts.Fence}
			return h.needs(backend.CanTransact|backend.CanKeepSessions, h.hold(op))(w, r)
		}
		value, err := h.readValue(w, r, key)
		if err != nil {
			return err
		}
		index, err := h.cfg.Backend.Put(r.Context(), key, value, opts)
		if err == nil {
			h.setChanged(w, index)
		}
		_, conditional := opts.If.Index()
		return writeOutcome(w, r, key, conditional, err)
	}
}

// hold answers a PUT that takes or releases a lock.
func (h *Handler) hold(op backend.TxnOp) answer {
	return func(w http.ResponseWriter, r *http.Request) (err error) {
		if op.Value, err = h.readValue(w, r, op.Key); err != nil {
			return err
		}
		res, err := h.txns().Txn(r.Context(), []backend.TxnOp{op})
		if err == nil {
			h.setChanged(w, res.Results[0].Entry.ModifyIndex)
		}
		return writeOutcome(w, r, op.Key, true, single(err))
	}
}

// single is the error of a transaction with one operation, as one about a key.
func single(err error) error {
	var e *backend.Error
	if !errors.As(err, &e) || len(e.Ops) == 0 {
		return err
	}
	plain := *e
	plain.Ops = nil
	return &plain
}

// setChanged tells the index of a change.
func (h *Handler) setChanged(w http.ResponseWriter, index uint64) {
	h.seen(index)
	w.Header().Set(headerIndex, strconv.FormatUint(index, 10))
}

// writeOutcome writes true, false for a condition that did not hold, or returns
// the error.
func writeOutcome(w http.ResponseWriter, r *http.Request, key string, conditional bool, err error) error {
	if err == nil {
		return writeJSON(w, r, http.StatusOK, true)
	}
	var e *backend.Error
	if conditional && errors.As(err, &e) && e.Code == backend.Conflict {
		setErrorHeaders(w.Header(), e)
		return writeJSON(w, r, http.StatusOK, false)
	}
	return asError(err, key, true)
}

// readValue reads the body of a PUT, never more than the limit.
func (h *Handler) readValue(w http.ResponseWriter, r *http.Request, key string) ([]byte, error) {
	limit := h.limits().MaxValueSize
	value, over, err := readBody(w, r, int64(limit))
	switch {
	case over > 0:
		return nil, h.tooLarge(key, over, limit)
	case err != nil:
		return nil, backend.Errorf(backend.Invalid, key, "the value did not arrive whole: %w", err)
	}
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

// kvDelete answers DELETE /v1/kv/KEY with true, or with false for a lost cas of a key
// that exists.
func (h *Handler) kvDelete(key string) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		q, err := parseQuery(r)
		if err != nil {
			return err
		}
		if err := q.exclusive("recurse", "cas"); err != nil {
			return err
		}
		var opts backend.DeleteOptions
		if opts.Fence, err = q.fence(); err != nil {
			return err
		}
		if q.Has("recurse") {
			if err := h.deleteTree(r.Context(), key, opts); err != nil {
				return err
			}
			return writeJSON(w, r, http.StatusOK, true)
		}
		if key == "" {
			return errNoKey()
		}
		if opts.If, err = q.condition(); err != nil {
			return err
		}
		err = h.cfg.Backend.Delete(r.Context(), key, opts)
		var e *backend.Error
		if _, conditional := opts.If.Index(); !conditional || !errors.As(err, &e) || e.Code != backend.Conflict {
			return writeOutcome(w, r, key, false, err)
		}
		// What Consul answers for a key that does not exist, so that who repeats a
		// delete is not told that it was lost. The headers have our contract's answer.
		left, err := h.cfg.Backend.Get(r.Context(), key, backend.GetOptions{})
		if err != nil {
			return asError(err, key, false)
		}
		setErrorHeaders(w.Header(), e)
		return writeJSON(w, r, http.StatusOK, left == nil)
	}
}

// deleteTree deletes every key under prefix, in one transaction if the backend has
// them and the tree is not too large for one.
func (h *Handler) deleteTree(ctx context.Context, prefix string, opts backend.DeleteOptions) error {
	if h.can.Has(backend.CanTransact) {
		_, err := h.txns().Txn(ctx, []backend.TxnOp{{Verb: backend.VerbDeleteTree, Key: prefix, Fence: opts.Fence}})
		switch {
		case err == nil:
			return nil
		case backend.CodeOf(err) != backend.TooLarge:
			return asError(single(err), prefix, true)
		}
	}
	return h.deleteParts(ctx, prefix, opts)
}

// deleteParts deletes every key under prefix, one by one. It is not atomic: keys
// that are written meanwhile may stay, and readers may see a part of it.
func (h *Handler) deleteParts(ctx context.Context, prefix string, opts backend.DeleteOptions) error {
	deleted := 0
	for after := ""; ; {
		page, err := h.cfg.Backend.List(ctx, backend.ListQuery{Prefix: prefix, After: after, Limit: deletePage})
		if err != nil {
			return partly(asError(err, prefix, false), prefix, deleted)
		}
		n, err := h.deleteAll(ctx, page.Names(), opts)
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
func (h *Handler) deleteAll(ctx context.Context, keys []string, opts backend.DeleteOptions) (deleted int, err error) {
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

				failed := h.cfg.Backend.Delete(ctx, key, opts)

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

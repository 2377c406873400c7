package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/opentx"
)

const (
	// maxOpenTx is how many interactive transactions are open at once. Each keeps
	// what it has written, up to backend.MaxTxnSize, all together opentx.MaxBytes.
	maxOpenTx = 256
	// txIdle is how long one may be left alone before it is rolled back.
	txIdle = time.Minute
)

// wireBegun is the answer of /v1/chord/tx/begin.
type wireBegun struct{ ID string }

// beginTx answers POST /v1/chord/tx/begin.
func (h *Handler) beginTx(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	id, err := h.txs.Begin(r.Context(), func() (backend.Tx, error) {
		return h.txns().Begin(r.Context(), backend.TxOptions{ReadOnly: q.Has("read_only")})
	})
	switch {
	case errors.Is(err, opentx.ErrClosed):
		return backend.Errorf(backend.Closed, "", "the agent is stopping; begin the transaction at another")
	case errors.Is(err, opentx.ErrFull):
		return backend.Errorf(backend.NotReady, "", "%d transactions are open, the limit; commit them or roll them back, or try again", maxOpenTx)
	case err != nil:
		return asError(err, "", false)
	}
	return writeJSON(w, r, http.StatusOK, wireBegun{ID: id})
}

// inTx is an answer by the transaction that ?id names; last ends it.
func (h *Handler) inTx(last bool, do func(w http.ResponseWriter, r *http.Request, q query, tx backend.Tx) error) answer {
	return h.needs(backend.CanTransact, func(w http.ResponseWriter, r *http.Request) error {
		q, err := parseQuery(r)
		if err != nil {
			return err
		}
		tx, done, err := h.txs.Use(q.Get("id"), last)
		if err != nil {
			return backend.Errorf(backend.TxnDone, "", "the transaction was committed or rolled back, or left alone for %v and rolled back, or begun at another agent; begin a new one", txIdle)
		}
		defer done()
		return do(w, r, q, tx)
	})
}

func (h *Handler) txGet(w http.ResponseWriter, r *http.Request, q query, tx backend.Tx) error {
	key := q.Get("key")
	e, err := tx.Get(r.Context(), key)
	if err != nil {
		return asError(err, key, false)
	}
	if e == nil {
		h.setMeta(w, 0, true)
		writeBody(w, http.StatusNotFound, nil)
		return nil
	}
	return writeJSON(w, r, http.StatusOK, []wireEntry{toWire(e)})
}

func (h *Handler) txList(w http.ResponseWriter, r *http.Request, q query, tx backend.Tx) error {
	ask, err := q.list()
	if err != nil {
		return err
	}
	page, err := h.page(r.Context(), tx, ask)
	if err != nil {
		return err
	}
	return writePage(w, r, page)
}

func (h *Handler) txPut(w http.ResponseWriter, r *http.Request, q query, tx backend.Tx) error {
	key := q.Get("key")
	opts, err := q.putOptions()
	if err != nil {
		return err
	}
	if opts.If, err = q.condition(); err != nil {
		return err
	}
	value, err := h.readValue(w, r, key)
	if err != nil {
		return err
	}
	return writeDone(w, r, key, tx.Put(r.Context(), key, value, opts))
}

func (h *Handler) txDelete(w http.ResponseWriter, r *http.Request, q query, tx backend.Tx) error {
	key := q.Get("key")
	var opts backend.DeleteOptions
	var err error
	if opts.Fence, err = q.fence(); err != nil {
		return err
	}
	if opts.If, err = q.condition(); err != nil {
		return err
	}
	return writeDone(w, r, key, tx.Delete(r.Context(), key, opts))
}

func (h *Handler) txCommit(w http.ResponseWriter, r *http.Request, _ query, tx backend.Tx) error {
	return writeDone(w, r, "", tx.Commit(r.Context()))
}

func (h *Handler) txRollback(w http.ResponseWriter, r *http.Request, _ query, tx backend.Tx) error {
	return writeDone(w, r, "", tx.Rollback(r.Context()))
}

// writeDone writes true, or returns the error about key.
func writeDone(w http.ResponseWriter, r *http.Request, key string, err error) error {
	if err != nil {
		return asError(err, key, true)
	}
	return writeJSON(w, r, http.StatusOK, true)
}

// Close rolls back the interactive transactions that are open and refuses new
// ones. It returns when that is done. The server is to be shut down before; the
// backend stays the caller's to close.
func (h *Handler) Close() error {
	h.txs.Close()
	return nil
}

package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/chord-plugin/chord-plugin/backend"
)

// maxTxnBody is how many bytes the JSON of /v1/txn may have, unless MaxValueSize is
// larger, which counts then, as in Consul.
const maxTxnBody = 512 << 10

// consulOp is an operation of /v1/txn. Of the kinds that Consul has there is KV.
type consulOp struct {
	KV *struct {
		Verb                 backend.Verb
		Key                  string
		Value                []byte
		Flags, Index         uint64
		Session              string
		Namespace, Partition string
	}
	Node, Service, Check, Intention *json.RawMessage // null is none
}

// consulTxn is the answer of /v1/txn.
type consulTxn struct {
	Results []consulResult
	Errors  []consulError
}

type consulResult struct{ KV wireEntry }

type consulError struct {
	OpIndex int
	What    string
}

// reading are the verbs that change nothing.
var reading = []backend.Verb{
	backend.VerbGet, backend.VerbGetOrEmpty, backend.VerbGetTree,
	backend.VerbCheckIndex, backend.VerbCheckNotExists, backend.VerbCheckSession,
}

func onlyReads(ops []backend.TxnOp) bool {
	return !slices.ContainsFunc(ops, func(op backend.TxnOp) bool { return !slices.Contains(reading, op.Verb) })
}

func (h *Handler) txns() backend.Transactional { return h.cfg.Backend.(backend.Transactional) }

// txn answers PUT /v1/txn: 200 with the results, or 409 with all operations that
// failed.
func (h *Handler) txn(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseQuery(r); err != nil {
		return err
	}
	limit := max(maxTxnBody, int64(h.cfg.MaxValueSize))
	var in []consulOp
	if err := (form{limit: limit, array: true, lenient: true}).read(w, r, &in); err != nil {
		if backend.CodeOf(err) == backend.TooLarge {
			return backend.Errorf(backend.TooLarge, "", "put failed due to value being too large: Value exceeds what a transaction may carry: Request body is too large, max size: %d bytes; split it", limit)
		}
		return err
	}
	ops, err := toOps(in)
	if err != nil {
		return err
	}
	res, err := h.commit(r, ops)
	if err != nil {
		return writeLost(w, r, err)
	}
	if onlyReads(ops) {
		w.Header().Set("X-Consul-KnownLeader", "true")
		w.Header().Set("X-Consul-LastContact", "0")
	}
	out := consulTxn{Results: make([]consulResult, len(res.Results))}
	for i, one := range res.Results {
		out.Results[i].KV = toWire(one.Entry)
	}
	return writeJSON(w, r, http.StatusOK, out)
}

// toOps returns the operations of a request.
func toOps(in []consulOp) ([]backend.TxnOp, error) {
	ops := make([]backend.TxnOp, len(in))
	for i, op := range in {
		switch {
		case op.KV == nil:
			return nil, backend.Errorf(backend.Invalid, "", "operation %d has no KV, the only kind of operation that exists here", i)
		case op.Node != nil || op.Service != nil || op.Check != nil || op.Intention != nil:
			return nil, backend.Errorf(backend.Invalid, "", "operation %d has more than KV, the only kind of operation that exists here", i)
		case op.KV.Namespace != "" || op.KV.Partition != "":
			return nil, backend.Errorf(backend.Invalid, "", "operation %d has a namespace or partition, which do not exist here", i)
		}
		ops[i] = backend.TxnOp{Verb: op.KV.Verb, Key: op.KV.Key, Value: op.KV.Value, Flags: op.KV.Flags, Index: op.KV.Index, Session: op.KV.Session}
	}
	return ops, nil
}

// commit carries out a transaction and notes the indexes that it gives.
func (h *Handler) commit(r *http.Request, ops []backend.TxnOp) (*backend.TxnResult, error) {
	if err := h.limits().CheckTxn(ops); err != nil {
		return nil, err
	}
	res, err := h.txns().Txn(r.Context(), ops)
	if err != nil {
		return nil, asError(err, "", !onlyReads(ops))
	}
	for _, one := range res.Results {
		h.seen(one.Entry.ModifyIndex)
	}
	return res, nil
}

// writeLost writes what Consul's clients expect of a transaction that lost, or
// returns the error when it is another.
func writeLost(w http.ResponseWriter, r *http.Request, err error) error {
	var e *backend.Error
	switch {
	case !errors.As(err, &e) || len(e.Ops) == 0 && e.Code != backend.TxnConflict:
		return err
	case e.Code == backend.Invalid || e.Code == backend.TooLarge:
		return backend.Errorf(e.Code, e.Key, "operation %d: %s", e.Ops[0].Op, e.Message)
	}
	lost := consulTxn{Errors: []consulError{{What: e.Error()}}}
	if len(e.Ops) > 0 {
		lost.Errors = make([]consulError, len(e.Ops))
	}
	for i, op := range e.Ops {
		what := fmt.Sprintf("key %q: %s", op.Key, op.Message)
		if op.Code != backend.Conflict {
			what = bodyText(&backend.Error{Code: op.Code, Key: op.Key, Message: op.Message})
		}
		lost.Errors[i] = consulError{OpIndex: op.Op, What: what}
	}
	setErrorHeaders(w.Header(), e)
	return writeJSON(w, r, http.StatusConflict, lost)
}

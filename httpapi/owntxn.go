package httpapi

import (
	"context"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// maxOwnTxn is how many bytes the JSON of /v1/chord/txn may have: values of
	// backend.MaxTxnSize in base64, and the largest keys, escaped.
	maxOwnTxn = 16 << 20
	// maxLarge is how many transactions of more than maxTxnBody are read at once;
	// further ones wait for their turn.
	maxLarge = 16
)

// wireTxn is what /v1/chord/txn takes.
type wireTxn struct{ Ops []wireOp }

// wireOp is a backend.TxnOp.
type wireOp struct {
	Verb         backend.Verb
	Key          string       `json:",omitempty"`
	Value        []byte       `json:",omitempty"`
	Flags        uint64       `json:",omitempty"`
	Index        uint64       `json:",omitempty"`
	Session      string       `json:",omitempty"`
	ExpiresAfter wireDuration `json:",omitempty"`
	FenceKey     string       `json:",omitempty"`
	FenceToken   uint64       `json:",omitempty"`
}

// wireResults is what it answers.
type wireResults struct{ Results []wireResult }

type wireResult struct {
	Op    int
	Entry wireEntry
}

// ownTxn answers POST /v1/chord/txn: what backend.Transactional's Txn returns.
func (h *Handler) ownTxn(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength < 0 || r.ContentLength > maxTxnBody {
		select {
		case h.large <- struct{}{}:
			defer func() { <-h.large }()
		case <-r.Context().Done():
			return backend.Errorf(backend.NotReady, "", "%d large transactions are under way, and this one found no place in time; try again", maxLarge)
		}
	}
	var in wireTxn
	if err := (form{limit: maxOwnTxn}).read(w, r, &in); err != nil {
		return err
	}
	ops := make([]backend.TxnOp, len(in.Ops))
	for i, op := range in.Ops {
		ops[i] = backend.TxnOp{
			Verb: op.Verb, Key: op.Key, Value: op.Value, Flags: op.Flags, Index: op.Index, Session: op.Session,
			ExpiresAfter: time.Duration(op.ExpiresAfter), Fence: backend.Fence{Key: op.FenceKey, Token: op.FenceToken},
		}
	}
	res, err := h.commit(r, ops)
	if err != nil {
		return err
	}
	out := wireResults{Results: make([]wireResult, len(res.Results))}
	for i, one := range res.Results {
		out.Results[i] = wireResult{Op: one.Op, Entry: toWire(one.Entry)}
	}
	return writeJSON(w, r, http.StatusOK, out)
}

// valued are the verbs whose results have values.
var valued = []backend.Verb{backend.VerbGet, backend.VerbGetOrEmpty, backend.VerbGetTree}

// Txn carries out ops with POST /v1/chord/txn.
func (c *Client) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	// JSON would make other keys of those that are not UTF-8. Only the agent knows how
	// large keys and values may be.
	if err := (backend.Limits{MaxKeySize: math.MaxInt, MaxValueSize: math.MaxInt}).CheckTxn(ops); err != nil {
		return nil, err
	}
	question := wireTxn{Ops: make([]wireOp, len(ops))}
	for i, op := range ops {
		question.Ops[i] = wireOp{
			Verb: op.Verb, Key: op.Key, Value: op.Value, Flags: op.Flags, Index: op.Index, Session: op.Session,
			ExpiresAfter: wireDuration(op.ExpiresAfter), FenceKey: op.Fence.Key, FenceToken: op.Fence.Token,
		}
	}
	var answer wireResults
	what := call{method: http.MethodPost, path: "/v1/chord/txn", harmless: onlyReads(ops), doubt: "read its keys to see what holds"}
	if err := c.send(ctx, what, question, &answer); err != nil {
		return nil, err
	}
	res := &backend.TxnResult{Results: make([]backend.TxnOpResult, len(answer.Results))}
	for i, one := range answer.Results {
		e := one.Entry.bare()
		if e.Value == nil && e.ModifyIndex > 0 && one.Op < len(ops) && slices.Contains(valued, ops[one.Op].Verb) {
			e.Value = []byte{} // an empty value, and not none
		}
		res.Results[i] = backend.TxnOpResult{Op: one.Op, Entry: e}
	}
	return res, nil
}

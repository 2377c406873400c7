package httpapi

import (
	"net/http"

	"github.com/chord-plugin/chord-plugin/backend"
)

// maxVerify is how many keys one page of a verification looks at.
const maxVerify = 10_000

// leave answers PUT /v1/agent/leave once this node has left the ring. Like
// Consul it answers with nothing.
func (h *Handler) leave(w http.ResponseWriter, r *http.Request) error {
	if err := h.cfg.Admin.Leave(r.Context()); err != nil {
		return err
	}
	writeBody(w, http.StatusOK, nil)
	return nil
}

// forceLeave answers PUT /v1/agent/force-leave/NAME when the removal of a dead
// member has begun. Consul's ?prune and ?wan change nothing.
func (h *Handler) forceLeave(name string) answer {
	return func(w http.ResponseWriter, r *http.Request) error {
		if name == "" {
			return backend.Errorf(backend.Invalid, "", "Missing node name")
		}
		if _, err := h.cfg.Admin.Remove(r.Context(), backend.RemoveRequest{Names: []string{name}}); err != nil {
			return err
		}
		writeBody(w, http.StatusOK, nil)
		return nil
	}
}

// remove answers POST /v1/ring/remove.
func (h *Handler) remove(w http.ResponseWriter, r *http.Request) error {
	var req backend.RemoveRequest
	if err := document.read(w, r, &req); err != nil {
		return err
	}
	if len(req.Names) == 0 {
		return backend.Errorf(backend.Invalid, "", `names is empty: say which members to remove, as in {"names":["a"]}`)
	}
	report, err := h.cfg.Admin.Remove(r.Context(), req)
	if err != nil {
		return err
	}
	return writeJSON(w, r, http.StatusOK, report)
}

// verify answers POST /v1/ring/verify with one page.
func (h *Handler) verify(w http.ResponseWriter, r *http.Request) error {
	var q backend.VerifyQuery
	if err := document.read(w, r, &q); err != nil {
		return err
	}
	if q.Limit < 0 || q.Limit > maxVerify {
		return backend.Errorf(backend.Invalid, "", "limit is %d: give 1 to %d keys, or 0 for the default", q.Limit, maxVerify)
	}
	page, err := h.cfg.Admin.Verify(r.Context(), q)
	if err != nil {
		return asError(err, "", q.Repair)
	}
	return writeJSON(w, r, http.StatusOK, page)
}

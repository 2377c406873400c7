package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// maxDocument bounds a request in JSON, in bytes: the names of all members
	// that a ring may have, escaped, fit in.
	maxDocument = 512 << 10
	// maxVerify is how many keys one page of a verification looks at.
	maxVerify = 10_000
)

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
	if err := readDocument(w, r, &req); err != nil {
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
	if err := readDocument(w, r, &q); err != nil {
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

// readDocument reads the body of r, one JSON object with fields of v only.
func readDocument(w http.ResponseWriter, r *http.Request, v any) error {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxDocument))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
		return backend.Errorf(backend.TooLarge, "", "the request's JSON may have %d bytes", maxDocument)
	case err != nil:
		return backend.Errorf(backend.Invalid, "", "the request did not arrive whole: %w", err)
	}
	// As after the value of a PUT: from here the connection is read only to
	// notice that the client is gone.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})

	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err = d.Decode(v)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		err = errors.New("the body is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("it ends too early")
	case errors.As(err, &wrong) && wrong.Field != "":
		err = fmt.Errorf("%q can not be a JSON %s", wrong.Field, wrong.Value)
	case errors.As(err, &wrong), err == nil && bytes.TrimSpace(text)[0] != '{': // null is taken for anything
		err = errors.New("it is no object")
	case err == nil:
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the object")
		}
	default:
		err = errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if err != nil {
		return backend.Errorf(backend.Invalid, "", "Invalid JSON in the request: %w", err)
	}
	return nil
}

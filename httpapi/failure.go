package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/chord-plugin/chord-plugin/backend"
)

// The headers of our own.
const (
	headerCode     = "X-Chord-Error-Code"
	headerKey      = "X-Chord-Error-Key"
	headerMessage  = "X-Chord-Error-Message"
	headerAnswered = "X-Chord-Answered"
	headerOwners   = "X-Chord-Owners"
	headerIndex    = "X-Chord-Index"
	headerTimeout  = "X-Chord-Timeout"
	headerOps      = "X-Chord-Error-Ops"
)

// maxErrorHeader bounds a message in a header, in bytes before it is encoded.
const maxErrorHeader = 4096

// statuses are the HTTP statuses of the codes; the package comment has them as
// a table. A code that is not here is 500.
var statuses = map[backend.Code]int{
	backend.Invalid:        http.StatusBadRequest,
	backend.TooLarge:       http.StatusRequestEntityTooLarge,
	backend.Conflict:       http.StatusConflict,
	backend.NoQuorum:       http.StatusServiceUnavailable,
	backend.UnknownOutcome: http.StatusInternalServerError,
	backend.TxnConflict:    http.StatusConflict,
	backend.TxnReadOnly:    http.StatusBadRequest,
	backend.TxnDone:        http.StatusConflict,
	backend.Fenced:         http.StatusConflict,
	backend.SessionInvalid: http.StatusInternalServerError,
	backend.LockLost:       http.StatusConflict,
	backend.NotReady:       http.StatusServiceUnavailable,
	backend.Closed:         http.StatusServiceUnavailable,
	backend.Unauthorized:   http.StatusForbidden,
	backend.Internal:       http.StatusInternalServerError,
}

// codes are the codes by the names that travel in headers.
var codes = func() map[string]backend.Code {
	byName := make(map[string]backend.Code)
	for c := backend.Code(1); c.Known(); c++ {
		byName[c.String()] = c
	}
	return byName
}()

// statusError is an error whose status is not the one of its code.
type statusError struct {
	status int
	err    *backend.Error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// asError makes a contract error of err. Backends return those by themselves;
// what else comes is the context's error or a fault.
func asError(err error, key string, write bool) error {
	var e *backend.Error
	switch {
	case errors.As(err, &e):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		if write {
			return backend.Errorf(backend.UnknownOutcome, key, "the request ended while the change was under way: %w", err)
		}
		return backend.Errorf(backend.NoQuorum, key, "the request ended before enough owners answered: %w", err)
	}
	return backend.Errorf(backend.Internal, key, "%w", err)
}

// writeError writes err, which holds a *backend.Error.
func writeError(w http.ResponseWriter, err error) {
	var e *backend.Error
	if !errors.As(err, &e) {
		e = backend.Errorf(backend.Internal, "", "%w", err)
	}
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	var s *statusError
	if errors.As(err, &s) {
		status = s.status
	}
	setErrorHeaders(w.Header(), e)
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if len(e.Ops) > 0 {
		writeOps(w, e.Ops, status)
		return
	}
	http.Error(w, bodyText(e), status)
}

// wireOps is the body of an error that is about operations of a transaction.
type wireOps struct{ Ops []wireOpError }

type wireOpError struct {
	Op      int
	Code    backend.Code
	Key     string `json:",omitempty"`
	Message string
}

func writeOps(w http.ResponseWriter, ops []backend.OpError, status int) {
	out := wireOps{Ops: make([]wireOpError, len(ops))}
	for i, op := range ops {
		out.Ops[i] = wireOpError(op)
	}
	body, _ := json.Marshal(out) // numbers and strings
	w.Header().Set(headerOps, strconv.Itoa(len(ops)))
	w.Header().Set("Content-Type", "application/json")
	writeBody(w, status, body)
}

// readOps adds what writeOps wrote to e.
func readOps(e *backend.Error, got *reply) {
	var in wireOps
	if got.header.Get(headerOps) == "" || json.Unmarshal(got.body, &in) != nil {
		return
	}
	for _, op := range in.Ops {
		e.Ops = append(e.Ops, backend.OpError(op))
	}
}

func setErrorHeaders(header http.Header, e *backend.Error) {
	header.Set(headerCode, e.Code.String())
	if e.Key != "" {
		header.Set(headerKey, url.QueryEscape(e.Key))
	}
	message := e.Message
	if len(message) > maxErrorHeader {
		message = message[:maxErrorHeader] + "..."
	}
	header.Set(headerMessage, url.QueryEscape(message))
	if e.Owners != 0 || e.Answered != 0 {
		header.Set(headerAnswered, strconv.Itoa(e.Answered))
		header.Set(headerOwners, strconv.Itoa(e.Owners))
	}
}

// bodyText is what people and Consul's clients read. A refusal that concerns no
// key is worded as Consul words it, without our code before it.
func bodyText(e *backend.Error) string {
	text := e.Error()
	switch {
	case (e.Code == backend.Invalid || e.Code == backend.SessionInvalid) && e.Key == "" && e.Message != "":
		text = e.Message
	case e.Code == backend.SessionInvalid:
		text = "invalid session" + strings.TrimPrefix(text, e.Code.String())
	case e.Code == backend.TooLarge && strings.Contains(e.Message, "value being too large") && !strings.Contains(e.Message, "Value exceeds"):
		text += "; Value exceeds the limit, it is too large"
	}
	return text
}

// readError rebuilds the error that setErrorHeaders wrote; nil when there is none.
func readError(header http.Header) *backend.Error {
	name := header.Get(headerCode)
	if name == "" {
		return nil
	}
	e := &backend.Error{Code: codes[name]}
	if e.Code == 0 {
		// A newer server may know codes that this client does not.
		e.Code = backend.Internal
		if digits, ok := strings.CutPrefix(name, "code "); ok {
			if n, err := strconv.ParseUint(digits, 10, 32); err == nil {
				e.Code = backend.Code(n)
			}
		}
	}
	e.Key = unescape(header.Get(headerKey))
	e.Message = unescape(header.Get(headerMessage))
	e.Answered, _ = strconv.Atoi(header.Get(headerAnswered))
	e.Owners, _ = strconv.Atoi(header.Get(headerOwners))
	return e
}

// unescape decodes what url.QueryEscape made; what else comes stays as it is.
func unescape(s string) string {
	if t, err := url.QueryUnescape(s); err == nil {
		return t
	}
	return s
}

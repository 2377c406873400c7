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
	"github.com/chord-plugin/chord-plugin/internal/jsontext"
)

const (
	// maxDocument bounds a request in JSON, in bytes: the names of all members
	// that a ring may have, escaped, fit in.
	maxDocument = 512 << 10
	// maxDrain is how much of a refused body is read and thrown away, so that a
	// client which sends before it listens still sees why it was refused.
	maxDrain = 16 << 20
)

// readBody reads a body of at most limit bytes. over is the size of a larger one,
// as far as it is known, and 0 for all others.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) (body []byte, over int64, err error) {
	if r.ContentLength > limit {
		// With "Expect: 100-continue" the body has not been sent yet, and
		// reading would ask for it.
		if r.Header.Get("Expect") == "" {
			_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
		}
		return nil, r.ContentLength, nil
	}
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		n, _ := io.CopyN(io.Discard, r.Body, maxDrain)
		return nil, limit + 1 + n, nil
	case err != nil:
		return nil, 0, err
	}
	// From here the connection is read only to notice that the client is gone,
	// which may be at any time. After a failure the deadline stays, because
	// net/http still reads what is left of the body before it answers.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, 0, nil
}

// A form says what a request in JSON is like.
type form struct {
	// limit is how many bytes it may have.
	limit int64
	// array says that it is an array, and not an object.
	array bool
	// lenient says that fields which nobody knows are ignored, as Consul does.
	lenient bool
	// optional says that it may be empty.
	optional bool
}

// document is the form of our own requests.
var document = form{limit: maxDocument}

// read reads the body of r into v.
func (f form) read(w http.ResponseWriter, r *http.Request, v any) error {
	text, over, err := readBody(w, r, f.limit)
	switch {
	case over > 0:
		return backend.Errorf(backend.TooLarge, "", "the request's JSON is too large: it may have %d bytes", f.limit)
	case err != nil:
		return backend.Errorf(backend.Invalid, "", "the request did not arrive whole: %w", err)
	}
	text = bytes.TrimSpace(text)
	if f.optional && len(text) == 0 {
		return nil
	}
	if err := f.decode(text, v); err != nil {
		return backend.Errorf(backend.Invalid, "", "Invalid JSON in the request: %w", err)
	}
	return nil
}

func (f form) decode(text []byte, v any) error {
	kind, first := "object", byte('{')
	if f.array {
		kind, first = "array", '['
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if !f.lenient {
		d.DisallowUnknownFields()
	}
	err := d.Decode(v)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the body is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends too early")
	case errors.As(err, &wrong) && wrong.Field != "":
		return fmt.Errorf("%q can not be a JSON %s", wrong.Field, wrong.Value)
	case errors.As(err, &wrong), err == nil && text[0] != first: // null is taken for anything
		return errors.New("it is no " + kind)
	case err != nil:
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if err := jsontext.Check(text); err != nil { // it would be read as other text
		return err
	}
	if _, more := d.Token(); !errors.Is(more, io.EOF) {
		return errors.New("something follows the " + kind)
	}
	return nil
}

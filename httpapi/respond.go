package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// writeJSON writes v as Consul does: compact, or indented by four spaces and
// ended by a newline when ?pretty was given.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	var body []byte
	var err error
	if r.URL.Query().Has("pretty") {
		body, err = json.MarshalIndent(v, "", "    ")
		body = append(body, '\n')
	} else {
		body, err = json.Marshal(v)
	}
	if err != nil {
		return fmt.Errorf("encode the response: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	writeBody(w, status, body)
	return nil
}

// writeBody writes a whole body. When it fails the client is gone or too slow;
// net/http closes the connection and there is nobody left to tell.
func writeBody(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

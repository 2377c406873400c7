package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxAnswer is how much of an answer is read.
const maxAnswer = 16 << 20

// client asks as curl does: a connection for each request, and no redirect is followed.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// An Answer is what a server answered.
type Answer struct {
	// Status is the HTTP status, and Location where a redirect leads.
	Status   int
	Location string
	// Text is the body, and Fields what it says as JSON: the keys of an object, nil if
	// it is none.
	Text   string
	Fields map[string]any
}

// OK reports whether the server did what it was asked.
func (a *Answer) OK() bool { return a.Status >= 200 && a.Status < 300 }

// Get returns what is at a path of keys, nil if it is not there.
func (a *Answer) Get(path ...string) any {
	var at any = a.Fields
	for _, key := range path {
		object, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = object[key]
	}
	return at
}

// String returns what is at a path of keys, which is "" unless it is a text.
func (a *Answer) String(path ...string) string {
	s, _ := a.Get(path...).(string)
	return s
}

// Number returns what is at a path of keys, which is 0 unless it is a number.
func (a *Answer) Number(path ...string) float64 {
	n, _ := a.Get(path...).(float64)
	return n
}

// Ask sends a request to this server: the method, such as PUT or LIST, and the path
// after /v1/. The body may be nil. It fails when there is no answer, which says nothing
// about what happened.
func (s *Server) Ask(ctx context.Context, token, method, path string, body any) (*Answer, error) {
	return s.ask(ctx, token, method, path, body, false)
}

// AskAlone is Ask, with the wish that the server does not ask another one: a standby
// answers with a redirect.
func (s *Server) AskAlone(ctx context.Context, token, method, path string, body any) (*Answer, error) {
	return s.ask(ctx, token, method, path, body, true)
}

func (s *Server) ask(ctx context.Context, token, method, path string, body any, alone bool) (*Answer, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.Addr+"/v1/"+path, content)
	if err != nil {
		return nil, err
	}
	if token != "" {
		r.Header.Set("X-Vault-Token", token)
	}
	if alone {
		r.Header.Set("X-Vault-No-Request-Forwarding", "true")
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask server %q: %w", s.Name, err)
	}
	defer func() { _ = answer.Body.Close() }() // it has been read
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer of server %q: %w", s.Name, err)
	}
	a := &Answer{Status: answer.StatusCode, Location: answer.Header.Get("Location"), Text: strings.TrimSpace(string(text))}
	if json.Unmarshal(text, &a.Fields) != nil {
		a.Fields = nil
	}
	return a, nil
}

// Must is Ask, and fails as well when the server did not do what it was asked.
func (s *Server) Must(ctx context.Context, token, method, path string, body any) (*Answer, error) {
	a, err := s.Ask(ctx, token, method, path, body)
	if err == nil && !a.OK() {
		err = fmt.Errorf("%s %s at server %q: status %d: %s", method, path, s.Name, a.Status, a.Text)
	}
	return a, err
}

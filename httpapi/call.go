package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// maxResponse bounds one response in bytes: a whole listing with its values.
	maxResponse = 1 << 30
	// maxErrorText bounds what is shown of a response that is not ours.
	maxErrorText = 256
	// expectSize is the size from which the agent is asked before a value is
	// sent, so that a refusal costs no transfer.
	expectSize = 64 << 10
)

var errResponseTooLarge = errors.New("the response is over the client's limit of 1 GiB; list with a limit")

// call is one request of the client.
type call struct {
	method string
	path   string
	query  url.Values
	body   []byte
	// kind is the body's content type; empty is application/octet-stream.
	kind string
	// key is named in errors.
	key string
	// missing says that 404 with Consul's headers means "no such key".
	missing bool
	// harmless says that it changes nothing although its method may.
	harmless bool
	// again says that a repetition changes nothing more.
	again bool
	// single says that a repetition would be told of the first time only that it was.
	single bool
	// waits says that it may take long and use one of the connections for that.
	waits bool
	// doubt says how to settle an unknown outcome; empty: by reading the key.
	doubt string
}

func (c call) writes() bool { return !c.harmless && !isRead(c.method) }

// unknown is the error of a call that may have happened.
func (c call) unknown(what string, cause error) *backend.Error {
	return backend.Errorf(backend.UnknownOutcome, c.key, "%s; %s: %w", what, cmp.Or(c.doubt, "read the key to see what holds"), cause)
}

// reply is the response to a call: its status is 200, or 404 for no such key.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// do makes the call and returns the contract's errors.
func (c *Client) do(ctx context.Context, what call) (*reply, error) {
	if !c.begin() {
		return nil, c.closedError(what.key)
	}
	defer c.calls.Done()
	for {
		start := time.Now()
		asked := DefaultMaxTimeout
		deadline, bounded := ctx.Deadline()
		if bounded {
			left := time.Until(deadline)
			asked = left - min(left/10, 100*time.Millisecond)
		}
		if err := ctx.Err(); err != nil || asked <= 0 {
			if err == nil {
				err = context.DeadlineExceeded
			}
			return nil, backend.Errorf(backend.NoQuorum, what.key, "the call was over before it began and changed nothing: %w", err)
		}
		got, err := c.once(ctx, what, asked)
		if err != nil {
			return nil, err
		}
		if got.status == http.StatusOK || what.missing && got.isMissing() {
			return got, nil
		}
		failed := c.refusal(what, got)
		if failed.Code == backend.TooLarge {
			c.forgetLimits()
		}
		// The agent gives up after its own longest time-out, which may be
		// shorter than the caller's patience. NoQuorum says nothing happened, so
		// the call may simply go on.
		granted, bad := time.ParseDuration(got.header.Get(headerTimeout))
		goesOn := failed.Code == backend.NoQuorum || what.again && failed.Code == backend.UnknownOutcome
		if what.single || !goesOn || bad != nil || time.Since(start) < granted || bounded && granted >= asked {
			return nil, failed
		}
	}
}

// once sends one request and reads its whole response.
func (c *Client) once(ctx context.Context, what call, timeout time.Duration) (*reply, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()

	// The transport repeats a request only when nothing of it was written (or
	// when it reads), and asks for a connection each time. A transport that does
	// not tell when it asks may have sent everything.
	var sent atomic.Bool
	sent.Store(true)
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { sent.Store(false) },
		GotConn: func(conn httptrace.GotConnInfo) {
			sent.Store(true)
			if !conn.Reused {
				c.forgetLimits() // it may be another agent
			}
		},
	})
	target := *c.base
	target.Path, target.RawQuery = what.path, what.query.Encode()
	var body io.Reader
	if what.body != nil {
		// The transport may read the body after it has returned an error, and
		// the caller may reuse the slice then.
		body = bytes.NewReader(bytes.Clone(what.body))
	}
	req, err := http.NewRequestWithContext(traced, what.method, target.String(), body)
	if err != nil {
		return nil, backend.Errorf(backend.Invalid, what.key, "make the request: %w", err)
	}
	req.Header.Set(headerTimeout, timeout.String())
	if what.body != nil {
		req.Header.Set("Content-Type", cmp.Or(what.kind, "application/octet-stream"))
	}
	if len(what.body) > expectSize {
		req.Header.Set("Expect", "100-continue")
	}
	client := c.http
	if what.waits {
		client = c.watching
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, c.broken(ctx, what, sent.Load(), err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, c.maxResponse+1))
	if err == nil && int64(len(data)) > c.maxResponse {
		err = errResponseTooLarge
	}
	if err != nil {
		return nil, c.broken(ctx, what, true, err)
	}
	return &reply{status: resp.StatusCode, header: resp.Header, body: data}, nil
}

// broken classifies a call that got no whole response. sent says that the agent
// may have received it.
func (c *Client) broken(ctx context.Context, what call, sent bool, err error) *backend.Error {
	if c.life.Err() != nil {
		return c.closedError(what.key)
	}
	var target *url.Error
	if errors.As(err, &target) {
		err = target.Err // the address is in our own text
	}
	over := ctx.Err()
	if over == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		over = err
	}
	switch {
	case sent && what.writes() && over != nil:
		return what.unknown("the call was over before the agent at "+c.base.Host+" answered", over)
	case sent && what.writes():
		return what.unknown("the connection to the agent at "+c.base.Host+" broke before it answered", err)
	case over != nil:
		return backend.Errorf(backend.NoQuorum, what.key, "the call was over before the agent at %s answered: %w", c.base.Host, over)
	case errors.Is(err, errResponseTooLarge):
		return backend.Errorf(backend.TooLarge, what.key, "%w", err)
	case sent:
		return backend.Errorf(backend.NotReady, what.key, "the connection to the agent at %s broke before it answered: %w", c.base.Host, err)
	}
	return backend.Errorf(backend.NotReady, what.key, "no agent answers at %s; start one there, or name another with -http-addr or CHORD_HTTP_ADDR: %w", c.base.Host, err)
}

func (c *Client) closedError(key string) *backend.Error {
	return backend.Errorf(backend.Closed, key, "the client was closed; open a new one")
}

// isMissing reports that the agent says that there is no such key; without
// Consul's header the 404 is about the path, or from somebody else.
func (r *reply) isMissing() bool {
	return r.status == http.StatusNotFound && r.header.Get("X-Consul-Index") != ""
}

// refusal returns the error that a response carries.
func (c *Client) refusal(what call, got *reply) *backend.Error {
	if e := readError(got.header); e != nil {
		readOps(e, got)
		return e
	}
	text := strings.TrimSpace(string(got.body[:min(len(got.body), maxErrorText)]))
	code := backend.Internal
	switch got.status {
	case http.StatusBadRequest:
		code = backend.Invalid
	case http.StatusUnauthorized, http.StatusForbidden:
		code = backend.Unauthorized
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		code = backend.TooLarge
	default:
		if got.status < http.StatusInternalServerError {
			break
		}
		// Something between us and the agent failed, or the agent did while it
		// wrote its answer.
		code = backend.NotReady
		if what.writes() {
			code = backend.UnknownOutcome
		}
	}
	return backend.Errorf(code, what.key, "%s answered %d to %s %s, which is not what a chord-plugin agent of this version answers; check -http-addr or CHORD_HTTP_ADDR: %s",
		c.base.Host, got.status, what.method, what.path, text)
}

// decode reads a JSON body into v.
func (c *Client) decode(what call, got *reply, v any) error {
	err := json.Unmarshal(got.body, v)
	if err == nil {
		return nil
	}
	code := backend.Internal
	if what.writes() {
		code = backend.UnknownOutcome
	}
	return backend.Errorf(code, what.key, "read what %s answered to %s %s: %w", c.base.Host, what.method, what.path, err)
}

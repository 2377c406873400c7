package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Status describes the agent, from /v1/agent/self.
func (c *Client) Status(ctx context.Context) (*backend.Status, error) {
	var self agentSelf
	if err := c.ask(ctx, "/v1/agent/self", "", &self); err != nil {
		return nil, err
	}
	if self.Chord == nil {
		return nil, backend.Errorf(backend.Internal, "", "%s is no chord-plugin agent; check -http-addr or CHORD_HTTP_ADDR", c.base.Host)
	}
	return self.Chord, nil
}

// Members lists the nodes that the agent knows, from /v1/agent/members.
func (c *Client) Members(ctx context.Context) ([]backend.Member, error) {
	var members []agentMember
	if err := c.ask(ctx, "/v1/agent/members", "", &members); err != nil {
		return nil, err
	}
	out := make([]backend.Member, len(members))
	for i, m := range members {
		out[i] = m.member()
	}
	return out, nil
}

// Ring describes the ring as the agent knows it, from /v1/ring.
func (c *Client) Ring(ctx context.Context) (*backend.Ring, error) {
	var ring backend.Ring
	if err := c.ask(ctx, "/v1/ring", "", &ring); err != nil {
		return nil, err
	}
	return &ring, nil
}

// Locate tells where a key lives, from /v1/ring/locate/KEY.
func (c *Client) Locate(ctx context.Context, key string) (*backend.Location, error) {
	var location backend.Location
	if err := c.ask(ctx, "/v1/ring/locate/"+key, key, &location); err != nil {
		return nil, err
	}
	return &location, nil
}

// Leave takes the agent out of the ring, with PUT /v1/agent/leave. It waits as
// long as ctx allows: an agent that ends the request by its own longest time-out
// is asked again, which changes nothing more.
func (c *Client) Leave(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodPut, path: "/v1/agent/leave", again: true, doubt: lookAtRing})
	return err
}

// Remove takes members out of the ring, with POST /v1/ring/remove.
func (c *Client) Remove(ctx context.Context, req backend.RemoveRequest) (*backend.RemoveReport, error) {
	var report backend.RemoveReport
	if err := c.send(ctx, call{method: http.MethodPost, path: "/v1/ring/remove", doubt: lookAtRing}, req, &report); err != nil {
		return nil, err
	}
	return &report, nil
}

// Verify compares the copies of a page of keys, with POST /v1/ring/verify. One
// that repairs nothing is a read.
func (c *Client) Verify(ctx context.Context, q backend.VerifyQuery) (*backend.VerifyPage, error) {
	var page backend.VerifyPage
	what := call{method: http.MethodPost, path: "/v1/ring/verify", harmless: !q.Repair, doubt: "verify again to see what is mended"}
	if err := c.send(ctx, what, q, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// lookAtRing is how to settle the doubt about a change of the ring.
const lookAtRing = "look at the ring to see what holds"

// ask gets a JSON document.
func (c *Client) ask(ctx context.Context, path, key string, v any) error {
	what := call{method: http.MethodGet, path: path, key: key}
	got, err := c.do(ctx, what)
	if err != nil {
		return err
	}
	return c.decode(what, got, v)
}

// send sends a JSON document and reads another.
func (c *Client) send(ctx context.Context, what call, question, v any) error {
	got, err := c.post(ctx, &what, question)
	if err != nil {
		return err
	}
	return c.decode(what, got, v)
}

// post makes what a call that carries a JSON document, and makes it.
func (c *Client) post(ctx context.Context, what *call, question any) (*reply, error) {
	var err error
	if what.body, err = json.Marshal(question); err != nil {
		return nil, backend.Errorf(backend.Invalid, "", "encode the request: %w", err)
	}
	what.kind = "application/json"
	return c.do(ctx, *what)
}

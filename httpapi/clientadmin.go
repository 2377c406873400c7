package httpapi

import (
	"context"
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

// ask gets a JSON document.
func (c *Client) ask(ctx context.Context, path, key string, v any) error {
	what := call{method: http.MethodGet, path: path, key: key}
	got, err := c.do(ctx, what)
	if err != nil {
		return err
	}
	return c.decode(what, got, v)
}

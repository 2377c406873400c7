package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/chord-plugin/chord-plugin/backend"
)

// fence answers POST /v1/chord/fence with true.
func (h *Handler) fence(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	f, err := q.fence()
	if err != nil {
		return err
	}
	return writeDone(w, r, f.Key, h.cfg.Backend.(backend.Fencer).Fence(r.Context(), f))
}

// Fence refuses the writes of former holders with POST /v1/chord/fence.
func (c *Client) Fence(ctx context.Context, f backend.Fence) error {
	what := call{method: http.MethodPost, path: "/v1/chord/fence", key: f.Key, query: url.Values{}, again: true, doubt: "fence again"}
	setFence(what.query, f)
	_, err := c.change(ctx, what)
	return err
}

// setFence sets what query.fence reads.
func setFence(q url.Values, f backend.Fence) {
	if f != (backend.Fence{}) {
		q.Set("fence_key", f.Key)
		q.Set("fence_token", strconv.FormatUint(f.Token, 10))
	}
}

// setPut sets what query.putOptions reads.
func setPut(q url.Values, opts backend.PutOptions) {
	if opts.Flags != 0 {
		q.Set("flags", strconv.FormatUint(opts.Flags, 10))
	}
	if opts.ExpiresAfter != 0 {
		q.Set("expires_after", opts.ExpiresAfter.String())
	}
	setFence(q, opts.Fence)
}

package plugin

import (
	"context"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// Watch waits for a change.
func (s *service) Watch(ctx context.Context, req *proto.WatchRequest) (*proto.WatchReply, error) {
	return do(ctx, s, reads, func(ctx context.Context, b backend.Backend) (*proto.WatchReply, error) {
		if !backend.CapabilitiesOf(b).Has(backend.CanWatch) {
			return nil, lacks(string(req.GetKey()), capabilityWatch)
		}
		q := backend.WatchQuery{Key: string(req.GetKey()), Prefix: string(req.GetPrefix()), After: req.GetAfter()}
		index, err := b.(backend.Watcher).Watch(ctx, q)
		return &proto.WatchReply{Index: index}, err
	})
}

func lacks(key, capability string) *backend.Error {
	return backend.Errorf(backend.Invalid, key, "this plugin does not have the capability %q", capability)
}

// Watch waits for a change; see backend.Watcher. It fails with Invalid unless the
// plugin can.
func (c *Client) Watch(ctx context.Context, q backend.WatchQuery) (uint64, error) {
	if !c.Capabilities().Has(backend.CanWatch) {
		return 0, lacks(q.Key, capabilityWatch)
	}
	return invoke(ctx, c, reads, q.Key, func(ctx context.Context) (uint64, error) {
		r, err := c.rpc.Watch(ctx, &proto.WatchRequest{Key: []byte(q.Key), Prefix: []byte(q.Prefix), After: q.After})
		return r.GetIndex(), err
	})
}

// Capabilities implements backend.Describer: what the plugin announced.
func (c *Client) Capabilities() backend.Capability {
	if slices.Contains(c.info.Capabilities, capabilityWatch) {
		return backend.CanWatch
	}
	return 0
}

// refuseUnsupported refuses the options of a write that the protocol does not
// carry.
func refuseUnsupported(key string, expires time.Duration, fence backend.Fence) error {
	switch {
	case expires != 0:
		return backend.Errorf(backend.Invalid, key, "keys cannot expire through a plugin; leave ExpiresAfter out")
	case fence != backend.Fence{}:
		return backend.Errorf(backend.Invalid, key, "there are no fences through a plugin; leave Fence out")
	}
	return nil
}

package plugin

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// Watch waits for a change.
func (s *service) Watch(ctx context.Context, req *proto.WatchRequest) (*proto.WatchReply, error) {
	return do(ctx, s, reads, func(ctx context.Context, b backend.Backend) (*proto.WatchReply, error) {
		w, err := able[backend.Watcher](b, backend.CanWatch, string(req.GetKey()))
		if err != nil {
			return nil, err
		}
		index, err := w.Watch(ctx, backend.WatchQuery{Key: string(req.GetKey()), Prefix: string(req.GetPrefix()), After: req.GetAfter()})
		return &proto.WatchReply{Index: index}, err
	})
}

// Watch waits for a change; see backend.Watcher. It fails with Invalid unless the
// plugin can, and with NotReady when 2,048 calls wait already, those included by
// which locks are looked after.
func (c *Client) Watch(ctx context.Context, q backend.WatchQuery) (uint64, error) {
	if err := c.needs(backend.CanWatch, q.Key); err != nil {
		return 0, err
	}
	if c.watches.Add(1) > maxWatches {
		c.watches.Add(-1)
		return 0, backend.Errorf(backend.NotReady, q.Key, "%d calls are waiting for changes, which is the limit; end some", maxWatches)
	}
	defer c.watches.Add(-1)
	return invoke(ctx, c, reads, q.Key, func(ctx context.Context) (uint64, error) {
		r, err := c.rpc.Watch(ctx, &proto.WatchRequest{Key: []byte(q.Key), Prefix: []byte(q.Prefix), After: q.After})
		return r.GetIndex(), err
	})
}

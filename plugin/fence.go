package plugin

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// Fence shuts out the former holders of a lock.
func (s *service) Fence(ctx context.Context, req *proto.FenceRequest) (*proto.FenceReply, error) {
	return do(ctx, s, writes, func(ctx context.Context, b backend.Backend) (*proto.FenceReply, error) {
		f := fenceFromProto(req.GetFence())
		fencer, err := able[backend.Fencer](b, backend.CanFence, f.Key)
		if err != nil {
			return nil, err
		}
		return &proto.FenceReply{}, fencer.Fence(ctx, f)
	})
}

// Fence shuts out the former holders of a lock; see backend.Fencer. It fails with
// Invalid unless the plugin can.
func (c *Client) Fence(ctx context.Context, f backend.Fence) error {
	if err := c.needs(backend.CanFence, f.Key); err != nil {
		return err
	}
	_, err := invoke(ctx, c, writes, f.Key, func(ctx context.Context) (*proto.FenceReply, error) {
		return c.rpc.Fence(ctx, &proto.FenceRequest{Fence: fenceToProto(f)})
	})
	return err
}

package plugin

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// The calls that change the ring or mend it: the plugin's side, then the host's.

// Leave takes the node out of the ring.
func (s *service) Leave(ctx context.Context, _ *proto.LeaveRequest) (*proto.LeaveReply, error) {
	return operate(ctx, s, writes, func(ctx context.Context, a backend.Admin) (*proto.LeaveReply, error) {
		return &proto.LeaveReply{}, a.Leave(ctx)
	})
}

// Remove takes members out of the ring.
func (s *service) Remove(ctx context.Context, req *proto.RemoveRequest) (*proto.Document, error) {
	names := make([]string, len(req.GetNames()))
	for i, name := range req.GetNames() {
		names[i] = string(name)
	}
	return describe(ctx, s, writes, func(ctx context.Context, a backend.Admin) (*backend.RemoveReport, error) {
		return a.Remove(ctx, backend.RemoveRequest{Names: names, Force: req.GetForce(), Confirm: req.GetConfirm()})
	})
}

// Verify compares copies.
func (s *service) Verify(ctx context.Context, req *proto.VerifyRequest) (*proto.Document, error) {
	return describe(ctx, s, verifying(req.GetRepair()), func(ctx context.Context, a backend.Admin) (*backend.VerifyPage, error) {
		return a.Verify(ctx, backend.VerifyQuery{After: string(req.GetAfter()), Limit: int(req.GetLimit()), Repair: req.GetRepair()})
	})
}

// verifying is the effect of a verification.
func verifying(repair bool) effect { return effect(repair) }

// Leave takes the plugin's member out of the ring, which takes as long as there is
// data to give away. The plugin then serves on as a client.
func (c *Client) Leave(ctx context.Context) error {
	_, err := invoke(ctx, c, writes, "", func(ctx context.Context) (*proto.LeaveReply, error) {
		return c.rpc.Leave(ctx, &proto.LeaveRequest{})
	})
	return err
}

// Remove takes members out of the ring that are gone.
func (c *Client) Remove(ctx context.Context, req backend.RemoveRequest) (*backend.RemoveReport, error) {
	names := make([][]byte, len(req.Names))
	for i, name := range req.Names {
		names[i] = []byte(name)
	}
	return described[*backend.RemoveReport](ctx, c, writes, "", func(ctx context.Context) (*proto.Document, error) {
		return c.rpc.Remove(ctx, &proto.RemoveRequest{Names: names, Force: req.Force, Confirm: req.Confirm})
	})
}

// Verify compares the copies of a page of keys. A page of many keys may be larger
// than a message to the plugin; then it fails with TooLarge.
func (c *Client) Verify(ctx context.Context, q backend.VerifyQuery) (*backend.VerifyPage, error) {
	return described[*backend.VerifyPage](ctx, c, verifying(q.Repair), "", func(ctx context.Context) (*proto.Document, error) {
		return c.rpc.Verify(ctx, &proto.VerifyRequest{After: []byte(q.After), Limit: int64(q.Limit), Repair: q.Repair})
	})
}

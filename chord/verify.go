package chord

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Verify implements backend.Admin.
func (n *Node) Verify(ctx context.Context, q backend.VerifyQuery) (*backend.VerifyPage, error) {
	return nil, backend.Errorf(backend.Internal, "", "being written")
}

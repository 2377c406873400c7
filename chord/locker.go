package chord

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/locking"
)

// keeper is the part of an Instance that makes it a backend.Locker. It also is its
// backend.Sessions, since it has to know of renewals.
type keeper = locking.Keeper

// unlocked is what the keeper builds on: the sessions of whatever is the node.
type unlocked struct{ *Instance }

var _ locking.Store = unlocked{}

// CreateSession implements backend.Sessions, as do those below.
func (u unlocked) CreateSession(ctx context.Context, opts backend.SessionOptions) (*backend.Session, error) {
	return use(ctx, u.Instance, func(n *Node) (*backend.Session, error) { return n.CreateSession(ctx, opts) })
}

func (u unlocked) RenewSession(ctx context.Context, id string) (*backend.Session, error) {
	return use(ctx, u.Instance, func(n *Node) (*backend.Session, error) { return n.RenewSession(ctx, id) })
}

func (u unlocked) DestroySession(ctx context.Context, id string) error {
	_, err := use(ctx, u.Instance, func(n *Node) (struct{}, error) { return struct{}{}, n.DestroySession(ctx, id) })
	return err
}

func (u unlocked) Session(ctx context.Context, id string) (*backend.Session, error) {
	return use(ctx, u.Instance, func(n *Node) (*backend.Session, error) { return n.Session(ctx, id) })
}

func (u unlocked) Sessions(ctx context.Context) ([]*backend.Session, error) {
	return use(ctx, u.Instance, func(n *Node) ([]*backend.Session, error) { return n.Sessions(ctx) })
}

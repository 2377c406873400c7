package plugin

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/locking"
)

// keeper makes the client's locks, here and not in the plugin: a lock is lost when
// it may be lost as far as the host's own clock can tell, which counts from when
// the host sent the last renewal that was acknowledged. It is an alias so that a
// Client has its methods and hides the field.
type keeper = locking.Keeper

// remote is the plugin without locks: what the keeper makes them of. Its calls of
// sessions are those that travel, while the client's own go through the keeper.
type remote struct{ *Client }

var _ locking.Store = remote{}

// Lock waits until the key is free and takes it; see backend.Locker. It fails with
// Invalid unless the plugin has what locks are made of.
func (c *Client) Lock(ctx context.Context, opts backend.LockOptions) (backend.Lock, error) {
	if err := c.needs(backend.CanLock, opts.Key); err != nil {
		return nil, err
	}
	return c.keeper.Lock(ctx, opts)
}

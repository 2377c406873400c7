//go:build !vaultsdk09

package vault

import (
	"context"

	"github.com/hashicorp/vault/sdk/physical"
)

var (
	_ physical.FencingHABackend = struct {
		ha
		fencing
	}{}
	_ physical.TransactionalLimits = struct {
		storage
		transactions
	}{}
)

// unfenced reports whether a write is to happen whoever has the lock.
func unfenced(ctx context.Context) bool { return physical.IsUnfencedWrite(ctx) }

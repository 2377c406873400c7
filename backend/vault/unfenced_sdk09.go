//go:build vaultsdk09

package vault

import "context"

// unfenced is false: the SDK of Vault 1.14 and before knows of no fences. Its writes
// carry one all the same; see hosting.Lock.
func unfenced(context.Context) bool { return false }

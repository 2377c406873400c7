package chord

import (
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// refuseUnsupported refuses the options of a write that this backend does not
// heed; see backend.CanExpire and backend.CanFence.
func refuseUnsupported(key string, expires time.Duration, fence backend.Fence) error {
	switch {
	case expires != 0:
		return backend.Errorf(backend.Invalid, key, "this backend cannot let keys expire; leave ExpiresAfter out")
	case fence != backend.Fence{}:
		return backend.Errorf(backend.Invalid, key, "this backend has no fences; leave Fence out")
	}
	return nil
}

package chord

import (
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// refuseUnsupported returns an error for a lifetime or a fence, which this backend
// does not heed.
func refuseUnsupported(key string, expires time.Duration, fence backend.Fence) error {
	switch {
	case expires != 0:
		return backend.Errorf(backend.Invalid, key, "lifetimes of keys are not supported by this backend yet")
	case fence != (backend.Fence{}):
		return backend.Errorf(backend.Invalid, key, "fences are not supported by this backend yet")
	}
	return nil
}

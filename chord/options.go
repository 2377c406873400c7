package chord

import "github.com/chord-plugin/chord-plugin/backend"

// refuseUnsupported refuses the options of a write that this backend does not
// heed; see backend.CanFence.
func refuseUnsupported(key string, fence backend.Fence) error {
	if fence != (backend.Fence{}) {
		return backend.Errorf(backend.Invalid, key, "this backend has no fences; leave Fence out")
	}
	return nil
}

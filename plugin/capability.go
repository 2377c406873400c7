package plugin

import (
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// What a plugin announces by name: that it answers the operator's calls, those of
// them that older plugins did not have, and watches. What came later it announces
// by the numbers of backend.Capability.
const (
	capabilityAdmin   = "admin"
	capabilityReshape = "reshape"
	capabilityWatch   = "watch"
)

// lockable is what a backend must be able to do for the client to make locks of
// it.
const lockable = backend.CanTransact | backend.CanWatch | backend.CanKeepSessions

// capabilitiesOf is what the client of a plugin can do that says info of itself.
func capabilitiesOf(info *proto.InfoReply) backend.Capability {
	can := backend.Capability(info.GetContract()) & backend.AllCapabilities &^ backend.CanLock
	if slices.Contains(info.GetCapabilities(), capabilityWatch) {
		can |= backend.CanWatch
	}
	if can.Has(lockable) {
		can |= backend.CanLock
	}
	return can
}

// Capabilities implements backend.Describer: what the plugin announced, and locks
// if they can be made of that. What is missing the client refuses with Invalid.
func (c *Client) Capabilities() backend.Capability { return c.can }

// needs returns an error unless the plugin announced what a call about key needs.
func (c *Client) needs(what backend.Capability, key string) error {
	if !c.can.Has(what) {
		return lacks(key, what&^c.can)
	}
	return nil
}

// heeds returns an error unless the plugin heeds these options of a write of key;
// it would not notice those that it does not know.
func (c *Client) heeds(key string, expires time.Duration, fence backend.Fence) error {
	if expires != 0 {
		if err := c.needs(backend.CanExpire, key); err != nil {
			return err
		}
	}
	if fence != (backend.Fence{}) {
		return c.needs(backend.CanFence, key)
	}
	return nil
}

// able returns b as what it must be for a call about key.
func able[T any](b backend.Backend, what backend.Capability, key string) (T, error) {
	v, ok := b.(T)
	if !ok || !backend.CapabilitiesOf(b).Has(what) {
		return v, lacks(key, what)
	}
	return v, nil
}

func lacks(key string, what backend.Capability) *backend.Error {
	return backend.Errorf(backend.Invalid, key, "this plugin does not have: %v", what)
}

package backend

import "strings"

// Capability is a set of things that a backend may be able to do beyond Backend.
type Capability uint32

// The capabilities. Their numbers travel over gRPC: they are append-only.
const (
	// CanTransact: it is a Transactional.
	CanTransact Capability = 1 << 0
	// CanWatch: it is a Watcher.
	CanWatch Capability = 1 << 1
	// CanKeepSessions: it is a Sessions.
	CanKeepSessions Capability = 1 << 2
	// CanLock: it is a Locker.
	CanLock Capability = 1 << 3
	// CanFence: it is a Fencer, and heeds the Fence of every write.
	CanFence Capability = 1 << 4
	// CanExpire: it heeds PutOptions.ExpiresAfter.
	CanExpire Capability = 1 << 5

	// AllCapabilities is every capability of this version.
	AllCapabilities = CanTransact | CanWatch | CanKeepSessions | CanLock | CanFence | CanExpire
)

var capabilityNames = []string{"transactions", "watches", "sessions", "locks", "fences", "expiry"}

// Has reports whether c has all of want.
func (c Capability) Has(want Capability) bool { return c&want == want }

// String names the capabilities in words.
func (c Capability) String() string {
	var names []string
	for i, name := range capabilityNames {
		if c.Has(1 << i) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// A Describer says what it can do. A type whose method set is larger than what
// lies behind it, such as a client, must be one; so must a backend that can
// expire keys, which no method shows.
type Describer interface {
	Capabilities() Capability
}

// CapabilitiesOf returns what b can do: what its methods promise and, for a
// Describer, only what it says of it.
func CapabilitiesOf(b Backend) Capability {
	var c Capability
	add := func(ok bool, one Capability) {
		if ok {
			c |= one
		}
	}
	_, ok := b.(Transactional)
	add(ok, CanTransact)
	_, ok = b.(Watcher)
	add(ok, CanWatch)
	_, ok = b.(Sessions)
	add(ok, CanKeepSessions)
	_, ok = b.(Locker)
	add(ok, CanLock)
	_, ok = b.(Fencer)
	add(ok, CanFence)
	if d, ok := b.(Describer); ok {
		c = (c | CanExpire) & d.Capabilities()
	}
	return c
}

package backend_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

func TestCapabilityText(t *testing.T) {
	require.Equal(t, "none", backend.Capability(0).String())
	require.Equal(t, "transactions, fences", (backend.CanTransact | backend.CanFence).String())
	require.Equal(t, "transactions, watches, sessions, locks, fences, expiry", backend.AllCapabilities.String())
	require.True(t, backend.AllCapabilities.Has(backend.CanLock|backend.CanExpire))
	require.False(t, backend.CanLock.Has(backend.CanLock|backend.CanExpire))
}

// The numbers travel over gRPC.
func TestCapabilitiesAreStable(t *testing.T) {
	for i, c := range []backend.Capability{
		backend.CanTransact, backend.CanWatch, backend.CanKeepSessions, backend.CanLock, backend.CanFence, backend.CanExpire,
	} {
		require.Equal(t, uint32(1)<<i, uint32(c))
	}
	require.EqualValues(t, 1<<6-1, backend.AllCapabilities)
}

type (
	plain struct{ backend.Backend }
	mixed struct {
		backend.Backend
		backend.Watcher
		backend.Locker
	}
	client struct {
		backend.Backend
		backend.Transactional
		backend.Watcher
		says backend.Capability
	}
)

func (c client) Capabilities() backend.Capability { return c.says }

func TestCapabilitiesOf(t *testing.T) {
	require.Zero(t, backend.CapabilitiesOf(plain{}))
	require.Equal(t, backend.CanWatch|backend.CanLock, backend.CapabilitiesOf(mixed{}))
	require.Zero(t, backend.CapabilitiesOf(client{}), "a client of a backend that can do nothing")
	require.Equal(t, backend.CanWatch, backend.CapabilitiesOf(client{says: backend.CanWatch}))
	require.Equal(t, backend.CanTransact|backend.CanWatch|backend.CanExpire, backend.CapabilitiesOf(client{says: backend.AllCapabilities}), "no method, no capability")
}

package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/plugin/internal/frozen"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// The contract holds, as far as they have it, between today's host and a plugin that
// knows only what was frozen, and the reverse; and between them and newer ones, of whose
// messages they do not know all.
func TestConformanceWithFrozen(t *testing.T) {
	for name, can := range map[string]backend.Capability{frozen.V1: backend.AllCapabilities, frozen.First: 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := frozen.Load(name)
			require.NoError(t, err)
			var clock memory.ManualClock
			backendtest.RunWith(t, func(t *testing.T) backend.Backend {
				store := limited{memory.NewWithClock(backend.DefaultLimits(), &clock), can}
				today := dialServer(t, func(server *grpc.Server) { proto.RegisterBackendServer(server, serviceOf(store)) })
				conn := dialServer(t, func(server *grpc.Server) { server.RegisterService(p.Between(today), nil) })
				c := connectTo(t, proto.NewBackendClient(conn), &clock)
				require.Equal(t, can, c.Capabilities())
				return c
			}, backendtest.Options{Must: can, Advance: clock.Advance, Patience: 2 * time.Second})
		})
	}
}

// What has no place in descriptors is as it was when version 1 was frozen.
func TestNumbersAreFrozen(t *testing.T) {
	require.Equal(t, 1, ProtocolVersion)
	require.Equal(t, "backend", Name)
	require.Equal(t, "CHORD_PLUGIN", Handshake.MagicCookieKey)
	require.Equal(t, "55d1f6de-ea7f-4f2b-a41b-a302bd94d8d9", Handshake.MagicCookieValue)
	require.Equal(t, "/chordplugin.v1.Backend/Get", proto.Backend_Get_FullMethodName)
	require.Equal(t, "chord-timeout-us", timeoutKey)
	require.Equal(t, 64<<20, maxMessageSize)
	require.Equal(t, "admin reshape watch", capabilityAdmin+" "+capabilityReshape+" "+capabilityWatch)

	capabilities := []string{"transactions", "watches", "sessions", "locks", "fences", "expiry"}
	for bit, name := range capabilities {
		require.Equal(t, name, backend.Capability(1<<bit).String())
	}
	for code, was := range map[backend.Code]struct {
		name string
		grpc codes.Code
	}{
		1: {"invalid", codes.InvalidArgument}, 2: {"too large", codes.OutOfRange}, 3: {"conflict", codes.FailedPrecondition},
		4: {"no quorum", codes.DeadlineExceeded}, 5: {"unknown outcome", codes.Unknown}, 6: {"transaction conflict", codes.Aborted},
		7: {"transaction is read-only", codes.FailedPrecondition}, 8: {"transaction is done", codes.FailedPrecondition}, 9: {"fenced", codes.FailedPrecondition},
		10: {"session invalid", codes.NotFound}, 11: {"lock lost", codes.Aborted}, 12: {"not ready", codes.Unavailable},
		13: {"closed", codes.Unavailable}, 14: {"unauthorized", codes.PermissionDenied}, 15: {"internal", codes.Internal},
	} {
		require.Equal(t, was.name, code.String())
		require.Equal(t, was.grpc, statusCodes[code], code)
	}
}

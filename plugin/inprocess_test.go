package plugin

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/backendtest"
	"github.com/chord-plugin/chord-plugin/backend/locking"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// connect returns the client of b in this process, with everything between them
// but the process, and the calls as another program's host makes them. The locks
// live in the time of clock.
func connect(t *testing.T, b backend.Backend, clock locking.Clock) (*Client, proto.BackendClient) {
	t.Helper()
	rpc := dial(t, serviceOf(b))
	return connectTo(t, rpc, clock), rpc
}

// serviceOf is the plugin's side of a backend.
func serviceOf(b backend.Backend) *service {
	return newService(func(context.Context, map[string]string) (backend.Backend, backend.Admin, error) { return b, nil, nil }, "1")
}

// connectTo returns the client of what answers rpc.
func connectTo(t *testing.T, rpc proto.BackendClient, clock locking.Clock) *Client {
	t.Helper()
	c := &Client{path: t.Name(), rpc: rpc, done: make(chan struct{}), kill: func() {}}
	c.closing = sync.OnceFunc(func() { close(c.done) })
	require.NoError(t, c.configure(t.Context(), nil))
	c.keeper = locking.New(remote{c}, clock)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// The contract holds in a time of its own, in which all that takes long is tested.
func TestConformanceInProcess(t *testing.T) {
	var clock memory.ManualClock
	backendtest.RunWith(t, func(t *testing.T) backend.Backend {
		c, _ := connect(t, memory.NewWithClock(backend.DefaultLimits(), &clock), &clock)
		return c
	}, backendtest.Options{Must: backend.AllCapabilities, Advance: clock.Advance, Patience: 2 * time.Second})
}

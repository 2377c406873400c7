package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metrics "github.com/armon/go-metrics"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// TestCoalescing: frames that wait together share a write.
func TestCoalescing(t *testing.T) {
	const n = 20000
	var got atomic.Int64
	inOrder := true // written by one goroutine, read after it has sent on done
	done := make(chan struct{})
	a, b := pair(t, testConfig("a"), testConfig("b"), func(m *Mesh) {
		m.HandleSend(1, func(_ ring.Node, body []byte) {
			i := got.Add(1)
			inOrder = inOrder && string(body) == fmt.Sprint(i)
			if i == n {
				close(done)
			}
		})
	})
	before := a.Stats()
	for i := range n {
		require.NoError(t, a.Send(b.node, 1, fmt.Append(nil, i+1)))
	}
	<-done
	require.True(t, inOrder, "sends of one node come in order")
	eventually(t, func() bool { return a.Stats().FramesSent-before.FramesSent >= n }, "all are counted, a moment after they arrived")
	after := a.Stats()
	frames, writes := after.FramesSent-before.FramesSent, after.Writes-before.Writes
	t.Logf("%d frames in %d writes", frames, writes)
	require.Less(t, writes, frames/4)
}

// TestReconnect: after a connection was killed there is a new one, nothing that
// was sent comes twice, and OnPeer tells it in order.
func TestReconnect(t *testing.T) {
	events := make(chan bool, 100)
	ca := testConfig("a")
	ca.OnPeer = func(_ Peer, up bool) { events <- up }
	seen := map[string]int{} // by the reader of one connection at a time
	var seenMu sync.Mutex
	a, b := pair(t, ca, testConfig("b"), func(m *Mesh) {
		m.HandleSend(1, func(_ ring.Node, body []byte) {
			seenMu.Lock()
			defer seenMu.Unlock()
			seen[string(body)]++
		})
	})
	require.True(t, <-events)
	for kill := range 3 {
		for i := range 500 {
			_ = a.Send(b.node, 1, fmt.Append(nil, kill, i)) // some are lost with the connection
			if i == 250 {
				a.RoutingTable()[b.cfg.ID].raw.Close() // either side may have dialled it
			}
		}
		require.False(t, <-events)
		require.True(t, <-events)
	}
	eventually(t, func() bool {
		_ = a.Send(b.node, 1, []byte("last"))
		seenMu.Lock()
		defer seenMu.Unlock()
		return seen["last"] > 0
	}, "messages pass again")
	seenMu.Lock()
	defer seenMu.Unlock()
	delete(seen, "last")
	for body, times := range seen {
		require.Equal(t, 1, times, body)
	}
}

// TestRestartWithAnotherID: a new process with a new ID at the old address.
func TestRestartWithAnotherID(t *testing.T) {
	a, b := pair(t, testConfig("a"), testConfig("b"))
	addr := b.Addr()
	require.NoError(t, b.Close())
	cfg := testConfig("b2")
	cfg.BindAddr = addr
	b2 := newMesh(t, cfg)
	eventually(t, func() bool { return a.Connected(b2.node) }, "the new process is connected under its own ID")
	require.False(t, a.Connected(b.node))
	a.Forget(b.cfg.ID)
	require.Empty(t, a.Awaiting())
}

// TestRestartWithTheSameID: the same member again, at another address.
func TestRestartWithTheSameID(t *testing.T) {
	a, b := pair(t, testConfig("a"), testConfig("b"))
	require.NoError(t, b.Close())
	eventually(t, func() bool { return !a.Connected(b.node) }, "gone")
	b2 := newMesh(t, testConfig("b"), echo)
	a.HandlePeers([]Peer{b2.self()})
	eventually(t, func() bool { return a.Connected(b2.node) }, "back")
	var p point
	require.NoError(t, a.Call(withTimeout(t, time.Minute), b2.node, typeEcho, &point{X: 1}, &p))
}

func TestForgetCloses(t *testing.T) {
	a, b := pair(t, testConfig("a"), testConfig("b"))
	b.Forget(a.cfg.ID)
	a.Forget(b.cfg.ID)
	eventually(t, func() bool { return !a.Connected(b.node) && !b.Connected(a.node) }, "closed")
	require.ErrorIs(t, a.Send(b.node, 1, nil), ErrNoRoute)
}

// TestFrozenPeer: a peer that says nothing, or takes nothing, is closed, and
// blocks nobody else meanwhile.
func TestFrozenPeer(t *testing.T) {
	for _, tc := range []struct {
		name   string
		talks  bool
		reason string
	}{
		{"stops altogether", false, "nothing heard for"},
		{"stops reading", true, "has taken nothing for"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log logBuffer
			cfg := testConfig("m")
			cfg.Logger = log.logger()
			cfg.KeepAlive, cfg.KeepAliveTimeout = 20*time.Millisecond, 400*time.Millisecond
			cfg.MaxFrame, cfg.MaxQueueBytes = 1<<20, 2<<20
			m := newMesh(t, cfg)
			friend := newMesh(t, testConfig("friend"), echo)
			m.HandlePeers([]Peer{friend.self()})
			eventually(t, func() bool { return m.Connected(friend.node) }, "a friend")
			p := rawPeer("frozen")
			nc, _, refused := rawDial(t, m, p, 1, 1)
			require.Nil(t, refused)
			var talker sync.WaitGroup
			if tc.talks {
				ping := outgoing{kind: kindPong}
				talker.Go(func() {
					tick := time.NewTicker(20 * time.Millisecond)
					defer tick.Stop()
					for range tick.C {
						if _, err := nc.Write(ping.append(nil)); err != nil {
							return
						}
					}
				})
			}
			body := make([]byte, 100<<10)
			var err error
			for err == nil {
				err = m.Send(p.ID.Node(), 1, body)
			}
			require.ErrorIs(t, err, ErrQueueFull)
			require.GreaterOrEqual(t, m.Stats().QueueFull, uint64(1))
			require.LessOrEqual(t, m.RoutingTable()[p.ID].Queued(), cfg.MaxQueueBytes)
			var out point
			require.NoError(t, m.Call(withTimeout(t, 10*time.Second), friend.node, typeEcho, &point{}, &out))
			eventually(t, func() bool {
				for err = nil; err == nil; { // the kernel's buffers take some megabytes
					err = m.Send(p.ID.Node(), 1, body)
				}
				return !m.Connected(p.ID.Node())
			}, "the frozen peer is dropped")
			require.True(t, m.Connected(friend.node))
			eventually(t, func() bool { return contains(log.String(), "connection lost", tc.reason) }, "the log says why")
			talker.Wait()
		})
	}
}

// TestGarbageCloses: a connection on which anything but frames arrives is closed.
func TestGarbageCloses(t *testing.T) {
	relay := outgoing{kind: kindHello, relay: &envelope{to: ring.NodeID([]byte("m")), from: ring.NodeID([]byte("p"))}}
	badSend := outgoing{kind: kindSend, body: []byte{0x01, 0x02}}
	badPeers := outgoing{kind: kindPeers, body: []byte{0xc1}}
	noTime := outgoing{kind: kindRequest, body: []byte{0xc0}}
	stranger := outgoing{kind: kindRing}
	secondHello := outgoing{kind: kindHello}
	var err error
	stranger.body, err = Marshal(&Peer{ID: ring.NodeID([]byte("q")), Role: RoleClient})
	require.NoError(t, err)
	for name, b := range map[string][]byte{
		"oversized frame": {0x7f, 0xff, 0xff, 0xff}, "tiny frame": {0, 0, 0, 1, 9}, "unknown kind": append([]byte{0, 0, 0, 10, 200}, make([]byte, 9)...),
		"hello in an envelope": relay.append(nil), "send that is no bin": badSend.append(nil), "broken peers": badPeers.append(nil),
		"request without time": noTime.append(nil), "ring of another": stranger.append(nil), "second hello": secondHello.append(nil),
		"truncated": nil,
	} {
		t.Run(name, func(t *testing.T) {
			var log logBuffer
			cfg := testConfig("m")
			cfg.Logger = log.logger()
			m := newMesh(t, cfg)
			p := rawPeer("p")
			nc, _, refused := rawDial(t, m, p, 1, 1)
			require.Nil(t, refused)
			if name == "truncated" {
				_, err := nc.Write([]byte{0, 0, 0, 99, 1})
				require.NoError(t, err)
				nc.Close()
			} else {
				_, err := nc.Write(b)
				require.NoError(t, err)
			}
			eventually(t, func() bool { return strings.Contains(log.String(), "connection lost") }, "closed and logged")
			require.False(t, m.Connected(p.ID.Node()))
		})
	}
}

// TestCloseFlushes: what was queued before Close arrives.
func TestCloseFlushes(t *testing.T) {
	done := make(chan int, 1)
	n := 0
	a, b := pair(t, testConfig("a"), testConfig("b"), func(m *Mesh) {
		m.HandleSend(1, func(ring.Node, []byte) {
			if n++; n == 1000 {
				done <- n
			}
		})
	})
	for range 1000 {
		require.NoError(t, a.Send(b.node, 1, []byte("x")))
	}
	require.NoError(t, a.Close())
	require.Equal(t, 1000, <-done)
}

func TestMetrics(t *testing.T) {
	sink := metrics.NewInmemSink(time.Hour, time.Hour)
	cfg := metrics.DefaultConfig("chord")
	cfg.EnableHostname, cfg.EnableRuntimeMetrics = false, false
	reg, err := metrics.New(cfg, sink)
	require.NoError(t, err)
	ca := testConfig("a")
	ca.Metrics = reg
	a, b := pair(t, ca, testConfig("b"), echo)
	var p point
	for range 3 {
		require.NoError(t, a.Call(withTimeout(t, time.Minute), b.node, typeEcho, &point{}, &p))
	}
	require.NoError(t, a.Close())
	counters := sink.Data()[0].Counters
	require.GreaterOrEqual(t, counters["chord.mesh.frames_sent"].Sum, float64(3))
	require.Equal(t, float64(a.Stats().FramesSent), counters["chord.mesh.frames_sent"].Sum)
	require.Equal(t, float64(1), counters["chord.mesh.connections"].Sum)
	require.Contains(t, counters, "chord.mesh.bytes_received")
	require.Contains(t, sink.Data()[0].Gauges, "chord.mesh.connected")
}

// acceptOnce fails once before it accepts.
type acceptOnce struct {
	net.Listener
	failed atomic.Bool
}

func (l *acceptOnce) Accept() (net.Conn, error) {
	if l.failed.CompareAndSwap(false, true) {
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

func TestAcceptFailurePasses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := testConfig("b")
	cfg.Listener = &acceptOnce{Listener: l}
	pair(t, testConfig("a"), cfg)
}

// TestInMemory: Dialer and Listener can be anything that carries bytes.
func TestInMemory(t *testing.T) {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	ca, cb := testConfig("a"), testConfig("b")
	cb.Listener, cb.BindAddr = l, ""
	ca.Dialer = func(ctx context.Context, addr string) (net.Conn, error) {
		if addr != "pipe" {
			return nil, fmt.Errorf("no such address: %s", addr)
		}
		mine, theirs := net.Pipe()
		select {
		case l.conns <- theirs:
			return mine, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	a, b := pair(t, ca, cb, echo)
	var p point
	require.NoError(t, a.Call(withTimeout(t, time.Minute), b.node, typeEcho, &point{X: 4}, &p))
	require.Equal(t, int64(4), p.X)
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

var _ io.Closer = (*Mesh)(nil)

package mesh

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testRing = ring.RingID("0123456789abcdef0123456789abcdef")

// logBuffer is a log that a test can read.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: l, Level: hclog.Warn})
}

// testConfig is a member at a free port of loopback.
func testConfig(name string) Config {
	return Config{ID: ring.NodeID([]byte(name)), Name: name, Role: RoleMember, RingID: testRing, Epoch: 1, BindAddr: "127.0.0.1:0"}
}

func newMesh(t testing.TB, cfg Config, setup ...func(*Mesh)) *Mesh {
	t.Helper()
	m, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	for _, s := range setup {
		s(m)
	}
	require.NoError(t, m.Start())
	return m
}

// eventually waits until cond holds.
func eventually(t testing.TB, cond func() bool, what string) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("not within 20 s: %s", what)
		case <-tick.C:
		}
	}
}

// pair returns two meshes with a connection between them, dialled by a.
func pair(t testing.TB, a, b Config, setupB ...func(*Mesh)) (*Mesh, *Mesh) {
	t.Helper()
	mb := newMesh(t, b, setupB...)
	ma := newMesh(t, a)
	ma.HandlePeers([]Peer{mb.self()})
	eventually(t, func() bool { return ma.Connected(mb.node) && mb.Connected(ma.node) }, "connected")
	return ma, mb
}

func withTimeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

const (
	typeEcho Type = 1 + iota
	typeBlock
	typeFail
)

type point struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`
	X       int64
	Name    string
	Value   []byte
	ID      ring.ID
}

func echo(m *Mesh) {
	m.HandleCall(typeEcho, func(_ context.Context, _ ring.Node, body Decoder) (any, error) {
		var p point
		err := body.Decode(&p)
		return &p, err
	})
}

func TestCallAndSend(t *testing.T) {
	got := make(chan string, 1)
	fromNode := make(chan ring.Node, 1)
	a, b := pair(t, testConfig("a"), testConfig("b"), echo, func(m *Mesh) {
		m.HandleSend(7, func(from ring.Node, body []byte) { fromNode <- from; got <- string(body) })
		m.HandleCall(typeBlock, func(_ context.Context, _ ring.Node, body Decoder) (any, error) {
			b, err := body.Bytes()
			return append([]byte("re: "), b...), err
		})
		m.HandleCall(typeFail, func(context.Context, ring.Node, Decoder) (any, error) {
			return nil, fmt.Errorf("wrapped: %w", &RemoteError{Code: 42, Message: "no such thing"})
		})
	})
	require.NoError(t, a.Send(b.node, 7, []byte("hello")))
	require.Equal(t, a.node, <-fromNode)
	require.Equal(t, "hello", <-got)

	ctx := withTimeout(t, 10*time.Second)
	want := point{X: -5, Name: "x", Value: []byte{1, 2, 3}, ID: a.cfg.ID}
	var p point
	require.NoError(t, a.Call(ctx, b.node, typeEcho, &want, &p))
	require.Equal(t, want, p)
	for _, n := range []int{0, 1, 255, 256, 65535, 65536, 8 << 20} {
		var resp []byte
		require.NoError(t, a.Call(ctx, b.node, typeBlock, bytes.Repeat([]byte{'v'}, n), &resp))
		require.Len(t, resp, n+4)
	}
	err := a.Call(ctx, b.node, typeFail, nil, nil)
	var remote *RemoteError
	require.ErrorAs(t, err, &remote)
	require.Equal(t, uint32(42), remote.Code)
	require.Equal(t, "no such thing", remote.Message)
	require.ErrorIs(t, a.Call(ctx, b.node, 99, nil, nil), &RemoteError{Code: CodeNoHandler})
	require.ErrorContains(t, a.Call(ctx, b.node, typeEcho, "not a point", &p), "malformed")
	require.ErrorIs(t, a.Call(context.Background(), b.node, typeEcho, nil, nil), ErrNoDeadline)
	require.ErrorIs(t, a.Call(ctx, ring.Node(77), typeEcho, nil, nil), ErrNoRoute)
	require.ErrorIs(t, a.Send(ring.Node(77), 7, nil), ErrNoRoute)
	require.ErrorIs(t, a.Send(b.node, 7, make([]byte, a.cfg.MaxFrame)), ErrTooLarge)
	require.True(t, a.Connected(b.node), "errors of one message do not harm the connection")

	require.NoError(t, a.Close())
	require.ErrorIs(t, a.Send(b.node, 7, nil), ErrClosed)
	require.ErrorIs(t, a.Call(ctx, b.node, typeEcho, nil, nil), ErrClosed)
	require.Error(t, a.Start())
}

func TestToItself(t *testing.T) {
	got := make(chan string, 1)
	m := newMesh(t, testConfig("a"), echo, func(m *Mesh) {
		m.HandleSend(7, func(from ring.Node, body []byte) { got <- string(body) })
	})
	require.NoError(t, m.Send(m.node, 7, []byte("me")))
	require.Equal(t, "me", <-got)
	var p point
	require.NoError(t, m.Call(withTimeout(t, time.Minute), m.node, typeEcho, &point{X: 3}, &p))
	require.Equal(t, int64(3), p.X)
	require.ErrorIs(t, m.Call(withTimeout(t, time.Minute), m.node, 99, nil, nil), &RemoteError{Code: CodeNoHandler})
}

func TestRoutingTableAndOnPeer(t *testing.T) {
	type event struct {
		name string
		up   bool
	}
	events := make(chan event, 10)
	cb := testConfig("b")
	cb.OnPeer = func(p Peer, up bool) { events <- event{p.Name, up} }
	cb.KeepAlive = 10 * time.Millisecond
	cb.KeepAliveTimeout = 10 * time.Second
	a, b := pair(t, testConfig("a"), cb)
	require.Equal(t, event{"a", true}, <-events)
	require.True(t, a.RoutingTable()[b.cfg.ID].Outgoing())
	c := b.RoutingTable()[a.cfg.ID]
	require.False(t, c.Outgoing())
	require.Equal(t, a.self(), c.Peer())
	eventually(t, func() bool { return c.RTT() > 0 }, "a ping was answered")
	a.SetRing(testRing, 9)
	eventually(t, func() bool { return c.Peer().Epoch == 9 }, "the epoch is told")
	require.NoError(t, a.Close())
	require.Equal(t, event{"a", false}, <-events)
	require.Empty(t, b.RoutingTable())
}

func TestPortTaken(t *testing.T) {
	a := newMesh(t, testConfig("a"))
	cfg := testConfig("b")
	cfg.BindAddr = a.Addr()
	_, err := New(cfg)
	require.ErrorContains(t, err, a.Addr())
	require.ErrorContains(t, err, "another program, or another node, uses this port; stop it or choose another bind address")
}

func TestConfigMistakes(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*Config)
		text string
	}{
		{"no ID", func(c *Config) { c.ID = ring.ID{} }, "no usable ID"},
		{"no role", func(c *Config) { c.Role = "boss" }, `role "boss"`},
		{"member without address", func(c *Config) { c.BindAddr = "" }, "needs a bind address"},
		{"all interfaces", func(c *Config) { c.BindAddr = "0.0.0.0:0" }, "set the advertise address"},
		{"bad advertise address", func(c *Config) { c.AdvertiseAddr = "nowhere" }, "advertise address"},
		{"small frame", func(c *Config) { c.MaxFrame = 10 }, "MaxFrame is 10"},
		{"small queue", func(c *Config) { c.MaxQueueBytes = 10 }, "MaxQueueBytes is 10"},
		{"hasty timeout", func(c *Config) { c.KeepAliveTimeout = c.KeepAlive + 1 }, "KeepAliveTimeout"},
		{"too many hops", func(c *Config) { c.MaxHops = 256 }, "MaxHops"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig("a")
			tc.edit(&cfg)
			_, err := New(cfg)
			require.ErrorContains(t, err, tc.text)
		})
	}
	cfg := testConfig("a")
	cfg.BindAddr, cfg.AdvertiseAddr = "0.0.0.0:0", "127.0.0.1:0"
	m := newMesh(t, cfg)
	_, port, err := net.SplitHostPort(m.Addr())
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:"+port, m.Advertised())
}

func TestClientWithoutListener(t *testing.T) {
	cfg := testConfig("client")
	cfg.Role, cfg.BindAddr, cfg.RingID = RoleClient, "", ""
	a, b := pair(t, cfg, testConfig("b"), echo)
	require.Empty(t, a.Addr())
	var p point
	require.NoError(t, a.Call(withTimeout(t, time.Minute), b.node, typeEcho, &point{X: 1}, &p))
	require.Equal(t, RoleClient, b.RoutingTable()[a.cfg.ID].Peer().Role)
	require.False(t, strings.Contains(strings.Join(b.Awaiting(), " "), "client"), "nobody dials a client")
}

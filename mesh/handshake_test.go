package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// TestHandshakeMismatch: whatever is wrong, both ends log the same text.
func TestHandshakeMismatch(t *testing.T) {
	b := testConfig("b")
	sibling := b.ID.Bytes()
	sibling[20] ^= 1
	collision, err := ring.IDFromBytes(sibling)
	require.NoError(t, err)
	other := ring.NodeID([]byte("somebody else"))
	for _, tc := range []struct {
		name   string
		edit   func(a *Config) // of the dialler
		setup  func(a *Mesh)
		dial   ring.ID
		reason string
	}{
		{"other ring", func(c *Config) { c.RingID = "ffffffffffffffffffffffffffffffff" }, nil, b.ID, "rings never merge"},
		{"newer protocol", nil, func(a *Mesh) { a.protocol = [2]uint16{2, 3} }, b.ID, "speaks mesh protocol 2 to 3"},
		{"older protocol", nil, func(a *Mesh) { a.protocol = [2]uint16{0, 0} }, b.ID, "run versions that overlap"},
		{"same node ID", func(c *Config) { c.ID = b.ID }, nil, other, "run with the same node ID"},
		{"colliding node ID", func(c *Config) { c.ID = collision }, nil, other, "share the first 64 bits"},
		{"another node", nil, nil, other, "wants " + other.Short() + ", but here is b"},
		{"no room", nil, nil, b.ID, "has its 1 incoming connections"},
		{"no address", nil, func(a *Mesh) { a.peer.Addr = "" }, b.ID, `member "a"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var logA, logB logBuffer
			ca, cb := testConfig("a"), b
			ca.Logger, cb.Logger = logA.logger(), logB.logger()
			if tc.edit != nil {
				tc.edit(&ca)
			}
			cb.MaxIncoming = 1
			mb := newMesh(t, cb)
			if tc.name == "no room" {
				first := newMesh(t, testConfig("first"))
				first.HandlePeers([]Peer{mb.self()})
				eventually(t, func() bool { return mb.Connected(first.node) }, "the first connection")
			}
			ma := newMesh(t, ca, func(m *Mesh) {
				if tc.setup != nil {
					tc.setup(m)
				}
			})
			ma.HandlePeers([]Peer{{ID: tc.dial, Name: "target", Addr: mb.Addr(), Role: RoleMember}})
			eventually(t, func() bool {
				a, b := logA.String(), logB.String()
				return contains(a, "dial failed", tc.reason) && contains(b, "incoming connection refused", tc.reason)
			}, tc.reason+" in both logs")
			if tc.name != "another node" {
				require.Empty(t, ma.RoutingTable())
				eventually(t, func() bool { return contains(fmt.Sprint(ma.Awaiting()), tc.reason) }, "Awaiting says why")
			} else {
				eventually(t, func() bool { return ma.Connected(mb.node) }, "who lives there is dialled under its own ID")
			}
		})
	}
}

func contains(s string, parts ...string) bool {
	for _, p := range parts {
		i := indexFold(s, p)
		if i < 0 {
			return false
		}
	}
	return true
}

// indexFold finds p in a log line, in which quotes are escaped.
func indexFold(s, p string) int {
	for i := 0; i < len(s); i++ {
		j, k := i, 0
		for j < len(s) && k < len(p) && (s[j] == p[k] || s[j] == '\\') {
			if s[j] == p[k] {
				k++
			}
			j++
		}
		if k == len(p) {
			return i
		}
	}
	return -1
}

func TestDiallingItself(t *testing.T) {
	var log logBuffer
	cfg := testConfig("a")
	cfg.Logger = log.logger()
	m := newMesh(t, cfg)
	m.HandlePeers([]Peer{m.self(), {ID: ring.NodeID([]byte("x")), Addr: m.Addr(), Role: RoleMember}})
	eventually(t, func() bool {
		return contains(log.String(), "dial failed", "incoming connection refused", "dialled itself; leave its own address out")
	}, "both ends say so")
	require.Empty(t, m.RoutingTable())
}

// TestRingAfterwards: two nodes without a ring meet, then get different rings.
func TestRingAfterwards(t *testing.T) {
	var logA, logB logBuffer
	ca, cb := testConfig("a"), testConfig("b")
	ca.RingID, cb.RingID = "", ""
	ca.Logger, cb.Logger = logA.logger(), logB.logger()
	a, b := pair(t, ca, cb)
	a.SetRing(testRing, 1)
	eventually(t, func() bool { return b.RoutingTable()[a.cfg.ID].Peer().RingID == testRing }, "b hears of the ring")
	require.True(t, b.Connected(a.node))
	b.SetRing("ffffffffffffffffffffffffffffffff", 1)
	eventually(t, func() bool {
		return contains(logA.String(), "rings never merge") && contains(logB.String(), "rings never merge")
	}, "both say why")
	require.False(t, a.Connected(b.node))
}

// rawDial says hello as p and returns the connection and what came back.
func rawDial(t *testing.T, m *Mesh, p Peer, boot, seq uint64) (net.Conn, *frameReader, *refusal) {
	t.Helper()
	nc, err := net.Dial("tcp", m.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	b, err := appendHello(nil, &hello{Min: 1, Max: 1, Peer: p, Boot: boot, Seq: seq})
	require.NoError(t, err)
	_, err = nc.Write(b)
	require.NoError(t, err)
	in := newFrameReader(nc, 1<<20)
	_, refused, err := readHello(in)
	require.NoError(t, err)
	return nc, in, refused
}

func rawPeer(name string) Peer {
	return Peer{ID: ring.NodeID([]byte(name)), Name: name, Role: RoleClient}
}

// TestNewerConnectionReplaces: the old connection of a restarted process is half
// dead, and goes at once; a late hello of the same process does not replace.
func TestNewerConnectionReplaces(t *testing.T) {
	m := newMesh(t, testConfig("m"))
	p := rawPeer("p")
	old, in, refused := rawDial(t, m, p, 1, 5)
	require.Nil(t, refused)
	_, _, refused = rawDial(t, m, p, 1, 4)
	require.NotNil(t, refused)
	require.Equal(t, RefusedDuplicate, refused.Reason)
	require.True(t, m.Connected(p.ID.Node()))

	_, _, refused = rawDial(t, m, p, 2, 1) // another process
	require.Nil(t, refused)
	require.NoError(t, old.SetDeadline(time.Now().Add(10*time.Second)))
	for {
		if _, err := in.next(); err != nil {
			require.False(t, errors.Is(err, context.DeadlineExceeded), err)
			break
		}
	}
	require.Equal(t, uint64(2), m.RoutingTable()[p.ID].boot)
	_, _, refused = rawDial(t, m, p, 2, 7) // the same process, which lost its connection
	require.Nil(t, refused)
	require.Equal(t, uint64(7), m.RoutingTable()[p.ID].seq)
}

// gateConn holds back the first read until the gate opens.
type gateConn struct {
	net.Conn
	gate <-chan struct{}
}

func (c *gateConn) Read(b []byte) (int, error) {
	<-c.gate
	return c.Conn.Read(b)
}

type gateListener struct {
	net.Listener
	gate <-chan struct{}
}

func (l *gateListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &gateConn{c, l.gate}, nil
}

// helloConn tells when the hello was written.
type helloConn struct {
	net.Conn
	once *sync.Once
	sent *sync.WaitGroup
}

func (c *helloConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.once.Do(c.sent.Done)
	return n, err
}

// TestSimultaneousDial: both have said hello before either reads one. One
// connection results, that of the smaller ID, and none is made and lost.
func TestSimultaneousDial(t *testing.T) {
	for round := range 10 {
		gate := make(chan struct{})
		var sent sync.WaitGroup
		sent.Add(2)
		make1 := func(name string) *Mesh {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			cfg := testConfig(name)
			cfg.Listener = &gateListener{l, gate}
			var once sync.Once
			cfg.Dialer = func(ctx context.Context, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
				if err != nil {
					return nil, err
				}
				return &helloConn{c, &once, &sent}, nil
			}
			return newMesh(t, cfg, echo)
		}
		a, b := make1(fmt.Sprint("a", round)), make1(fmt.Sprint("b", round))
		a.HandlePeers([]Peer{b.self()})
		b.HandlePeers([]Peer{a.self()})
		sent.Wait()
		close(gate)
		eventually(t, func() bool { return a.Connected(b.node) && b.Connected(a.node) }, "connected")
		small, large := a, b
		if a.cfg.ID.Compare(b.cfg.ID) > 0 {
			small, large = b, a
		}
		require.True(t, small.RoutingTable()[large.cfg.ID].Outgoing())
		require.False(t, large.RoutingTable()[small.cfg.ID].Outgoing())
		var p point
		require.NoError(t, a.Call(withTimeout(t, time.Minute), b.node, typeEcho, &point{}, &p))
		require.NoError(t, b.Call(withTimeout(t, time.Minute), a.node, typeEcho, &point{}, &p))
		eventually(t, func() bool { return len(a.Awaiting()) == 0 && len(b.Awaiting()) == 0 }, "the other dial has ended")
		for _, m := range []*Mesh{a, b} {
			require.Equal(t, uint64(1), m.Stats().Connections)
			require.Equal(t, uint64(0), m.Stats().ConnectionsLost)
		}
	}
}

// TestAwaitingLimits: a connection that says nothing is dropped in time, and no
// more than MaxAwaiting of them are kept.
func TestAwaitingLimits(t *testing.T) {
	cfg := testConfig("m")
	cfg.HandshakeTimeout, cfg.MaxAwaiting = 300*time.Millisecond, 2
	m := newMesh(t, cfg)
	var conns []net.Conn
	for range 3 {
		nc, err := net.Dial("tcp", m.Addr())
		require.NoError(t, err)
		defer nc.Close()
		conns = append(conns, nc)
	}
	eventually(t, func() bool { return m.Stats().AwaitingFull == 1 }, "the third is dropped")
	require.Contains(t, fmt.Sprint(m.Awaiting()), "handshake")
	for _, nc := range conns {
		require.NoError(t, nc.SetDeadline(time.Now().Add(10*time.Second)))
		_, err := nc.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	}
	eventually(t, func() bool { return m.Stats().Refused == 2 && len(m.Awaiting()) == 0 }, "the others time out")
}

// TestStrangers: what is no node is told apart in the log, on either side.
func TestStrangers(t *testing.T) {
	for _, tc := range []struct{ name, sends, text string }{
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "no node of a chord mesh"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "it speaks TLS"},
		{"nothing", "", "without a hello"},
		{"frame before hello", magic + "\x00\x00\x00\x0a\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00", "a frame of kind 4"},
		{"large hello", magic + "\x00\x10\x00\x00", "more than the limit"},
		{"broken hello", magic + "\x00\x00\x00\x0b\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\xdf", "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log logBuffer
			cfg := testConfig("m")
			cfg.Logger = log.logger()
			m := newMesh(t, cfg)
			nc, err := net.Dial("tcp", m.Addr())
			require.NoError(t, err)
			_, err = io.WriteString(nc, tc.sends)
			require.NoError(t, err)
			require.NoError(t, nc.(*net.TCPConn).CloseWrite())
			eventually(t, func() bool { return contains(log.String(), tc.text) }, tc.text)
			nc.Close()

			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer l.Close()
			m.HandlePeers([]Peer{{ID: ring.NodeID([]byte("stranger")), Addr: l.Addr().String(), Role: RoleMember}})
			nc, err = l.Accept()
			require.NoError(t, err)
			_, err = io.WriteString(nc, tc.sends)
			require.NoError(t, err)
			require.NoError(t, nc.(*net.TCPConn).CloseWrite())
			eventually(t, func() bool { return contains(fmt.Sprint(m.Awaiting()), tc.text) }, "Awaiting says so")
			nc.Close()
		})
	}
}

// TestRedial: a peer that is down costs a dial every second or two, HandlePeers
// makes the next one come at once, and hearsay is given up.
func TestRedial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := make(chan string, 1000)
		cfg := testConfig("m")
		cfg.Role, cfg.BindAddr = RoleClient, ""
		cfg.Dialer = func(_ context.Context, addr string) (net.Conn, error) {
			dials <- addr
			return nil, errors.New("nobody there")
		}
		m, err := New(cfg)
		require.NoError(t, err)
		require.NoError(t, m.Start())
		p := Peer{ID: ring.NodeID([]byte("p")), Name: "p", Addr: "p:1", Role: RoleMember}
		after := func(d time.Duration) int {
			<-time.After(d)
			synctest.Wait()
			n := len(dials)
			for range n {
				<-dials
			}
			return n
		}
		m.HandlePeers([]Peer{p})
		first := after(3 * time.Second)
		require.GreaterOrEqual(t, first, 5, "50, 100, 200, ... ms apart at first")
		require.LessOrEqual(t, first, 12)
		minute := after(time.Minute)
		require.GreaterOrEqual(t, minute, 29)
		require.LessOrEqual(t, minute, 61)
		m.HandlePeers([]Peer{p})
		require.Equal(t, 1, after(time.Millisecond))
		require.Contains(t, m.Awaiting()[0], "nobody there")
		m.Forget(p.ID)
		require.Equal(t, 0, after(time.Minute))

		m.handlePeers([]Peer{p}, true)
		require.Equal(t, hearsayTries, after(10*time.Minute))
		require.Empty(t, m.Awaiting())
		require.NoError(t, m.Close())
	})
}

func TestBackoff(t *testing.T) {
	for _, tc := range []struct {
		failures int
		random   float64
		want     time.Duration
	}{
		{1, 0, 25 * time.Millisecond}, {1, 0.5, 37500 * time.Microsecond}, {2, 0, 50 * time.Millisecond},
		{6, 0, 800 * time.Millisecond}, {7, 0, time.Second}, {1000000, 0.5, 1500 * time.Millisecond},
	} {
		require.Equal(t, tc.want, backoff(tc.failures, tc.random), tc)
	}
}

// TestCandidateLimit: peers beyond the limit are counted and left out.
func TestCandidateLimit(t *testing.T) {
	m, err := New(testConfig("m"))
	require.NoError(t, err)
	defer m.Close()
	peers := make([]Peer, maxCandidates+3)
	for i := range peers {
		peers[i] = Peer{ID: ring.NodeID([]byte(fmt.Sprint(i))), Addr: "127.0.0.1:1", Role: RoleMember}
	}
	m.HandlePeers(peers)
	require.Len(t, m.candidates, maxCandidates)
	require.Equal(t, uint64(3), m.Stats().PeersDropped)
}

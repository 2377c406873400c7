package gossip

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

const (
	ringA = ring.RingID("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	ringB = ring.RingID("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
)

// peer is a node under test with what it logged and told.
type peer struct {
	*Gossip
	log *buffer

	mu     sync.Mutex
	events []Node
}

// buffer collects log lines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func testID(name string) ring.ID { return ring.NodeID([]byte(name)) }

// testConfig is a member on a free port of loopback that calls seeds.
func testConfig(name string, seeds ...*peer) Config {
	c := Config{Name: name, ID: testID(name), Role: RoleMember, BindAddr: "127.0.0.1:0", Boot: 1, Version: "1.0.0"}
	for _, s := range seeds {
		c.Seeds = append(c.Seeds, s.Self().GossipAddr)
	}
	return c
}

func start(t *testing.T, c Config) *peer {
	return startOver(t, c, func(w *wire) memberlist.Transport { return w })
}

func startOver(t *testing.T, c Config, over func(*wire) memberlist.Transport) *peer {
	t.Helper()
	p := &peer{log: &buffer{}}
	c.Logger = hclog.New(&hclog.LoggerOptions{Name: c.Name, Level: hclog.Debug, Output: p.log})
	c.Events = func(n Node) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, n)
	}
	g, err := open(c, over)
	require.NoError(t, err)
	p.Gossip = g
	t.Cleanup(func() {
		members := g.Members()
		require.NoError(t, g.Close())
		if t.Failed() {
			t.Logf("%s knows:", c.Name)
			for _, n := range members {
				t.Logf("  %s %s ring %.1s epoch %d", n.Name, n.State, n.RingID, n.Epoch)
			}
			t.Logf("log of %s:\n%s", c.Name, p.log)
		}
	})
	return p
}

// states returns what p holds of each other name.
func (p *peer) states() map[string]State {
	m := map[string]State{}
	for _, n := range p.Members() {
		if n.ID != p.Self().ID {
			m[n.Name] = n.State
		}
	}
	return m
}

// seen returns the states of a name in the order in which p told them.
func (p *peer) seen(name string) (states []State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.events {
		if n.Name == name && (len(states) == 0 || states[len(states)-1] != n.State) {
			states = append(states, n.State)
		}
	}
	return states
}

func eventually(t *testing.T, within time.Duration, what string, cond func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	require.Eventually(t, cond, within, 5*time.Millisecond, what)
	return time.Since(begin)
}

// meet waits until all know all others as alive.
func meet(t *testing.T, within time.Duration, peers ...*peer) time.Duration {
	t.Helper()
	return eventually(t, within, "not all have met", func() bool {
		for _, p := range peers {
			alive := 0
			for _, s := range p.states() {
				if s == Alive {
					alive++
				}
			}
			if alive != len(peers)-1 {
				return false
			}
		}
		return true
	})
}

// five starts five members that know one seed.
func five(t *testing.T) []*peer {
	t.Helper()
	peers := []*peer{start(t, testConfig("n0"))}
	for i := 1; i < 5; i++ {
		peers = append(peers, start(t, testConfig(fmt.Sprintf("n%d", i), peers[0])))
	}
	return peers
}

// cutter stands between memberlist and the wire and cuts it.
type cutter struct {
	*wire
	mu  sync.Mutex
	cut func(addr string) bool
}

func (c *cutter) set(cut func(addr string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

func (c *cutter) isCut(addr string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut != nil && c.cut(addr)
}

func (c *cutter) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if c.isCut(a.Addr) {
		return time.Now(), nil
	}
	return c.wire.WriteToAddress(b, a)
}

func (c *cutter) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if c.isCut(a.Addr) {
		return nil, fmt.Errorf("cut from %s", a.Addr)
	}
	return c.wire.DialAddressTimeout(a, timeout)
}

package gossip

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

func TestFiveMeetThroughOneSeed(t *testing.T) {
	peers := five(t)
	t.Logf("met after %s", meet(t, 10*time.Second, peers...))
	members := peers[3].Members()
	require.Len(t, members, 5)
	for i, n := range members {
		p := peers[i].Self()
		require.Equal(t, p, n, "sorted by name, and as the node says of itself")
	}
	require.Equal(t, []State{Alive}, peers[0].seen("n4"))
	require.Empty(t, peers[0].seen("n0"), "no news of oneself")
}

func TestKilledIsSuspectThenDead(t *testing.T) {
	peers := five(t)
	meet(t, 10*time.Second, peers...)
	require.NoError(t, peers[4].Close())
	suspect := eventually(t, 5*time.Second, "suspect", func() bool {
		return peers[0].states()["n4"] != Alive
	})
	dead := eventually(t, 15*time.Second, "dead", func() bool {
		return !slices.ContainsFunc(peers[:4], func(p *peer) bool { return p.states()["n4"] != Dead })
	})
	t.Logf("suspect after %s, dead everywhere %s later", suspect, dead)
	eventually(t, time.Second, "told", func() bool {
		return slices.Equal([]State{Alive, Suspect, Dead}, peers[0].seen("n4"))
	})
	for i := 1; i < 4; i++ {
		require.Equal(t, Alive, peers[0].states()[fmt.Sprintf("n%d", i)])
	}
}

func TestLeaveIsSeenAsLeft(t *testing.T) {
	peers := five(t)
	meet(t, 10*time.Second, peers...)
	require.NoError(t, peers[4].Leave(5*time.Second))
	require.Equal(t, Left, peers[4].Self().State)
	require.NoError(t, peers[4].Leave(time.Second), "again")
	require.NoError(t, peers[4].Close())
	require.Error(t, peers[4].Leave(time.Second))
	_, err := peers[4].Join([]string{peers[0].Self().GossipAddr})
	require.Error(t, err)
	eventually(t, 10*time.Second, "left", func() bool {
		return !slices.ContainsFunc(peers[:4], func(p *peer) bool { return p.states()["n4"] != Left })
	})
	for _, p := range peers[:4] {
		addrs, alone := func() ([]string, bool) {
			p.Gossip.mu.Lock()
			defer p.Gossip.mu.Unlock()
			return p.missed()
		}()
		require.Contains(t, addrs, peers[4].Self().GossipAddr, "it may come back with an empty directory")
		require.False(t, alone)
	}
}

func TestRestartIsBackAtOnce(t *testing.T) {
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprintf("same address %t", same), func(t *testing.T) {
			a := start(t, testConfig("a"))
			b := start(t, testConfig("b", a))
			c := start(t, testConfig("c", a))
			meet(t, 10*time.Second, a, b, c)
			old := b.Self()
			require.NoError(t, b.Close())
			conf := testConfig("b", a)
			conf.Boot = 2
			if same {
				conf.BindAddr = old.GossipAddr
			}
			b = start(t, conf)
			back := func(p *peer) bool {
				return slices.ContainsFunc(p.Members(), func(n Node) bool {
					return n.ID == old.ID && n.Boot == 2 && n.State == Alive && n.GossipAddr == b.Self().GossipAddr
				})
			}
			took := eventually(t, 2*time.Second, "back", func() bool { return back(a) && back(c) })
			t.Logf("back after %s", took)
			meet(t, 2*time.Second, a, b, c)
			// The death of the last life is no news of this one.
			eventually(t, 15*time.Second, "the last life dies", func() bool { return a.list.NumMembers() == 3 })
			meet(t, time.Second, a, b, c)
			require.NotContains(t, a.seen("b"), Dead)
			require.Empty(t, b.Conflict())
		})
	}
}

func TestPartitionHeals(t *testing.T) {
	var cuts []*cutter
	over := func(w *wire) memberlist.Transport {
		c := &cutter{wire: w}
		cuts = append(cuts, c)
		return c
	}
	a := startOver(t, testConfig("a"), over)
	peers := []*peer{a}
	for _, name := range []string{"b", "c", "d"} {
		peers = append(peers, startOver(t, testConfig(name, a), over))
	}
	meet(t, 10*time.Second, peers...)
	half := func(i int) int { return i / 2 } // a and b here, c and d there
	for i, c := range cuts {
		c.set(func(addr string) bool {
			j := slices.IndexFunc(peers, func(p *peer) bool { return p.Self().GossipAddr == addr })
			return half(i) != half(j)
		})
	}
	eventually(t, 30*time.Second, "both halves dead to each other", func() bool {
		return a.states()["c"] == Dead && a.states()["d"] == Dead && a.states()["b"] == Alive &&
			peers[3].states()["a"] == Dead && peers[3].states()["b"] == Dead && peers[3].states()["c"] == Alive
	})
	for _, c := range cuts {
		c.set(nil)
	}
	t.Logf("healed after %s", meet(t, 20*time.Second, peers...))
}

func TestIsolatedNodeFindsSeedThatStartsLater(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	c := testConfig("early")
	c.Seeds = []string{addr}
	early := start(t, c)
	require.NoError(t, l.Close())
	c = testConfig("late")
	c.BindAddr = addr
	late := start(t, c)
	meet(t, 10*time.Second, early, late)
}

func TestNewErrors(t *testing.T) {
	taken := start(t, testConfig("taken"))
	addr := taken.Self().GossipAddr
	long := strings.Repeat("x", 300)
	for want, f := range map[string]func(*Config){
		"gossip address " + addr + " is in use":           func(c *Config) { c.BindAddr = addr },
		"missing port":                                    func(c *Config) { c.BindAddr = "127.0.0.1" },
		"names no host":                                   func(c *Config) { c.BindAddr = ":7946" },
		"every interface":                                 func(c *Config) { c.BindAddr = "0.0.0.0:0" },
		"a gossip key has 5 bytes":                        func(c *Config) { c.Keys = [][]byte{[]byte("short")} },
		`gossip profile "moon"`:                           func(c *Config) { c.Profile = "moon" },
		`seed "nowhere"`:                                  func(c *Config) { c.Seeds = []string{"nowhere"} },
		"port 0 cannot be called":                         func(c *Config) { c.Seeds = []string{"127.0.0.1:0"} },
		"rejoin interval -1s":                             func(c *Config) { c.RejoinInterval = -time.Second },
		"the name has 300 bytes and may have 64":          func(c *Config) { c.Name = long },
		"the mesh address has 300 bytes and may have 150": func(c *Config) { c.MeshAddr = long },
		"no name":                func(c *Config) { c.Name = "" },
		"no usable ID":           func(c *Config) { c.ID = ring.ID{} },
		`role "leader"`:          func(c *Config) { c.Role = "leader" },
		"expect 1025":            func(c *Config) { c.Expect = 1025 },
		`ring ID "abc"`:          func(c *Config) { c.RingID = "abc" },
		"epoch 3 without a ring": func(c *Config) { c.Epoch = 3 },
	} {
		c := testConfig("wrong")
		f(&c)
		g, err := New(c)
		require.ErrorContains(t, err, want)
		require.Nil(t, g)
	}
	require.ErrorContains(t, taken.SetMeshAddr(long), "the mesh address has 300 bytes")
	require.ErrorContains(t, taken.SetRing("abc", 1), `ring ID "abc"`)
}

func TestChangesSpread(t *testing.T) {
	a := start(t, testConfig("a"))
	b := start(t, testConfig("b", a))
	meet(t, 10*time.Second, a, b)
	require.NoError(t, b.SetMeshAddr("127.0.0.1:7947"))
	require.NoError(t, b.SetHTTPAddr("127.0.0.1:8500"))
	require.NoError(t, b.SetRing("", 0), "changes nothing")
	require.NoError(t, b.SetRing(ringA, 7))
	eventually(t, 5*time.Second, "the change arrives", func() bool {
		return slices.Contains(a.Members(), b.Self())
	})
	require.Equal(t, "127.0.0.1:7947", b.Self().MeshAddr)
	require.Equal(t, uint64(7), b.Self().Epoch)
	eventually(t, time.Second, "a has heard of the ring", func() bool { return a.Self().RingID == ringA })
	require.Zero(t, a.Self().Epoch, "and has no configuration of it")
}

func TestKeys(t *testing.T) {
	with := func(name string, key byte, seeds ...*peer) Config {
		c := testConfig(name, seeds...)
		if key != 0 {
			c.Keys = [][]byte{bytes.Repeat([]byte{key}, 32)}
		}
		return c
	}
	a := start(t, with("a", 1))
	b := start(t, with("b", 1, a))
	meet(t, 10*time.Second, a, b)
	for _, key := range []byte{0, 2} {
		c := start(t, with(fmt.Sprintf("c%d", key), key))
		n, err := c.Join([]string{a.Self().GossipAddr})
		require.Zero(t, n)
		require.ErrorContains(t, err, "the gossip keys differ")
		require.Len(t, c.Members(), 1)
	}
	require.Len(t, a.Members(), 2)
}

// A key is changed in three rounds of restarts: first all learn to read the new one,
// then they write with it, then they forget the old one. Who is ahead by one round and
// who is behind by one understand each other.
func TestKeyIsChanged(t *testing.T) {
	old, next := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 16)
	rounds := [][][]byte{{old}, {old, next}, {next, old}, {next}}
	for i, round := range rounds[1:] {
		a, b := testConfig("a"), testConfig("b")
		a.Keys = rounds[i]
		behind := start(t, a)
		b.Keys, b.Seeds = round, []string{behind.Self().GossipAddr}
		meet(t, 10*time.Second, behind, start(t, b))
	}
}

func TestThirtyMeet(t *testing.T) {
	// The local profile answers within 100 ms; thirty nodes under the race
	// detector on two busy cores cannot, and hold each other for dead.
	lan := func(name string, seeds ...*peer) Config {
		c := testConfig(name, seeds...)
		c.Profile = "lan"
		return c
	}
	peers := []*peer{start(t, lan("n00"))}
	for i := 1; i < 30; i++ {
		peers = append(peers, start(t, lan(fmt.Sprintf("n%02d", i), peers[0])))
	}
	// On a busy machine somebody is always late with an answer, and suspect.
	took := eventually(t, 60*time.Second, "all know all", func() bool {
		return !slices.ContainsFunc(peers, func(p *peer) bool {
			p.Gossip.mu.Lock()
			defer p.Gossip.mu.Unlock()
			return p.table.living() != len(peers)-1
		})
	})
	t.Logf("30 met after %s", took)
}

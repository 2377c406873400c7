package chord

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/store"
)

// copyOf returns a member's configuration with a copy of its data directory, made as
// it is now.
func copyOf(t testing.TB, cfg Config) Config {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(cfg.DataDir)))
	cfg.DataDir = dir
	onLoopback(&cfg)
	return cfg
}

// ended waits until a node has ended by itself, without having served.
func ended(t testing.TB, n *Node) {
	t.Helper()
	select {
	case <-n.Done():
	case <-n.Ready():
		t.Error("it serves")
	case <-time.After(limit):
		t.Error("it goes on")
	}
	require.Error(t, n.Err())
	require.NoError(t, n.Close())
}

// goOn checks that members are what they were, and the only ones.
func goOn(t testing.TB, nodes []*Instance) {
	t.Helper()
	for _, i := range nodes {
		require.NoError(t, i.Node().Err())
		eventually(t, func() bool {
			for _, o := range nodes {
				if o != i && !i.Node().peers.alive(o.ID().Node()) {
					return false
				}
			}
			return true
		}, "%s misses somebody", i.Node().cfg.Name)
	}
	shaped(t, current(nodes...), "a", "b", "c")
	for _, i := range nodes {
		put(t, i.Node(), "k", i.Node().cfg.Name)
		require.Equal(t, i.Node().cfg.Name, get(t, nodes[0].Node(), "k"))
	}
}

// TestCopiedBesideTheOriginal: a copy of a living member's directory ends, also when
// all were copied, and the originals do not notice.
func TestCopiedBesideTheOriginal(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Hour, "a", "b", "c")
	put(t, nodes[0].Node(), "k", "old")
	for _, these := range [][]int{{2}, {0}, {0, 1, 2}} {
		var copies []*Node
		var dirs []Config
		for _, i := range these {
			cfg := copyOf(t, configs[i])
			cfg.Seeds = []string{nodes[0].GossipAddr(), nodes[1].GossipAddr()}
			n, err := Open(cfg)
			require.NoError(t, err)
			copies, dirs = append(copies, n), append(dirs, cfg)
		}
		for i, n := range copies {
			ended(t, n)
			require.ErrorContains(t, n.Err(), "another process runs with the identity")
			_, err := Open(dirs[i])
			require.ErrorIs(t, err, store.ErrRefused)
		}
		goOn(t, nodes)
	}
	for i := range nodes { // and none of it is held against them
		require.NoError(t, nodes[i].Close())
		cfg := configs[i]
		cfg.Seeds = []string{nodes[(i+1)%3].GossipAddr(), nodes[(i+2)%3].GossipAddr()}
		nodes[i] = startInstance(t, cfg)
		goOn(t, nodes)
	}
}

// TestRestartAfterACopy: a copy that was refused while its original was down is not
// taken for a later life of it.
func TestRestartAfterACopy(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Hour, "a", "b", "c")
	c := nodes[2].Node()
	cfg := copyOf(t, configs[2])
	before := c.reserved()
	eventually(t, func() bool {
		put(t, c, "k", "v")
		nodes[0].Node().peers.mu.Lock()
		defer nodes[0].Node().peers.mu.Unlock()
		return nodes[0].Node().peers.all[c.id.Node()].reserved > before
	}, "c does not tell of its marks")
	require.NoError(t, nodes[2].Close())
	n, err := Open(cfg)
	require.NoError(t, err)
	ended(t, n)
	require.ErrorAs(t, n.Err(), new(*RestoredError))
	nodes[2] = startInstance(t, configs[2])
	goOn(t, nodes)
}

// TestRestartAtOnce: a member that is started again while the others still believe
// its last life alive is let in, at the same addresses and at others, again and again.
func TestRestartAtOnce(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Hour, "a", "b", "c")
	for i := range 4 {
		cfg := configs[2]
		onLoopback(&cfg)
		if i%2 == 0 {
			cfg.GossipAddr, cfg.MeshAddr = nodes[2].GossipAddr(), nodes[2].Node().MeshAddr()
		}
		require.NoError(t, nodes[2].Close()) // to gossip it is a crash
		began := time.Now()
		n, err := Start(cfg)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, n.Close()) })
		nodes[2] = n
		shaped(t, current(n), "a", "b", "c")
		t.Logf("serves after %v", time.Since(began))
		goOn(t, nodes)
		require.Eventually(t, func() bool { return !n.Node().gossip.Self().Returning }, limit, time.Millisecond)
	}
}

// TestOutlived: a process that stood still while the others let a later life of its
// member in ends when it goes on, also when the later one is gone by then.
func TestOutlived(t *testing.T) {
	t.Parallel()
	nodes, _ := ringOf(t, time.Hour, "a", "b", "c")
	c := nodes[2].Node()
	for _, i := range nodes[:2] {
		p := i.Node().peers
		p.mu.Lock()
		p.all[c.id.Node()].last.Boot++
		p.mu.Unlock()
		i.Node().mesh.Forget(c.id) // its connections broke meanwhile
	}
	select {
	case <-c.Done():
		require.ErrorContains(t, c.Err(), "has let number 2 in")
	case <-time.After(limit):
		t.Error("it goes on")
	}
}

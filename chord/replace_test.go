package chord

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/store"
)

// ringOf founds a ring of these members in directories of their own. reap is their
// ReapAfter.
func ringOf(t testing.TB, reap time.Duration, names ...string) (nodes []*Instance, configs []Config) {
	t.Helper()
	var seeds []string
	for _, name := range names {
		cfg := Config{Name: name, DataDir: t.TempDir(), Expect: len(names), Seeds: seeds, ReapAfter: reap}
		nodes = append(nodes, startInstance(t, cfg))
		if seeds == nil {
			seeds = []string{nodes[0].GossipAddr()}
		}
		cfg.Seeds = seeds
		configs = append(configs, cfg)
	}
	for _, n := range nodes {
		waitReady(t, n.Node())
	}
	return nodes, configs
}

// current returns the nodes of instances, as they are now.
func current(instances ...*Instance) []*Node {
	var nodes []*Node
	for _, i := range instances {
		nodes = append(nodes, i.Node())
	}
	return nodes
}

func dead(n *Node, id string) bool {
	members, _ := n.Members(n.ctx)
	for _, m := range members {
		if m.ID == id {
			return m.State == "dead" || m.State == "left"
		}
	}
	return true
}

// TestRemovedMemberReturns: a member that is gone is taken out, the copies are
// complete without it, and when it comes back it is a new member.
func TestRemovedMemberReturns(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Second, "a", "b", "c", "d")
	keys := numbered("x/", 100)
	fill(t, current(nodes...), keys)
	before := nodes[3].ID()
	require.NoError(t, nodes[3].Close())
	shaped(t, current(nodes[:3]...), "a", "b", "c")
	for _, key := range keys[:10] {
		loc, err := nodes[0].Locate(within(t, limit), key)
		require.NoError(t, err)
		require.Len(t, loc.Owners, 3)
		for _, o := range loc.Owners {
			require.NotEqual(t, "none", o.Ballot, o.Name)
		}
	}
	configs[3].ReapAfter = time.Hour
	back := startInstance(t, configs[3])
	eventually(t, func() bool { return back.ID() != before }, "it goes on with its old identity")
	shaped(t, current(append(nodes[:3], back)...), "a", "b", "c", "d")
	require.Equal(t, keys[0], get(t, back.Node(), keys[0]))
}

// TestWipedMemberReturns: a member that comes back under its name with an empty
// data directory takes its own place.
func TestWipedMemberReturns(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Hour, "a", "b", "c")
	keys := numbered("x/", 100)
	fill(t, current(nodes...), keys)
	before := nodes[2].ID()
	require.NoError(t, nodes[2].Close())
	eventually(t, func() bool { return dead(nodes[0].Node(), before.String()) }, "nobody misses it")
	configs[2].DataDir = t.TempDir()
	configs[2].Expect = 0
	back := startInstance(t, configs[2])
	require.NotEqual(t, before, back.ID())
	eventually(t, func() bool {
		st := nodes[0].Node().ring.Load()
		_, old := st.placement.Configuration().Member(before)
		return !old && len(st.placement.Configuration().New.Members) == 3
	}, "the old identity is still there")
	shaped(t, current(append(nodes[:2], back)...), "a", "b", "c")
	for _, key := range keys {
		require.Equal(t, key, get(t, back.Node(), key))
	}
}

// TestAwayThroughChanges: a member that was away while others came and went
// returns with its data and goes through the chain.
func TestAwayThroughChanges(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Hour, "a", "b", "c", "d", "e")
	keys := numbered("x/", 100)
	fill(t, current(nodes...), keys)
	id := nodes[4].ID()
	require.NoError(t, nodes[4].Close())
	more := join(t, nodes[0].Node(), "f", "g")
	shaped(t, current(nodes[:4]...), "a", "b", "c", "d", "e", "f", "g")
	require.NoError(t, more[0].Leave(within(t, limit)))
	for _, key := range keys[:50] {
		require.NoError(t, nodes[0].Delete(within(t, limit), key, backend.DeleteOptions{}))
	}
	back := startInstance(t, configs[4])
	shaped(t, append(current(append(nodes[:4], back)...), more[1]), "a", "b", "c", "d", "e", "g")
	require.Equal(t, id, back.ID(), "it lost its identity")
	for i, key := range keys {
		want := key
		if i < 50 {
			want = ""
		}
		require.Equal(t, want, get(t, back.Node(), key))
	}
}

// TestForcedRemoval: after the loss of a quorum the ring goes on with what is left.
func TestForcedRemoval(t *testing.T) {
	t.Parallel()
	nodes, _ := ringOf(t, time.Hour, "a", "b", "c", "d", "e")
	keys := numbered("x/", 100)
	fill(t, current(nodes...), keys)
	var gone []string
	for _, n := range nodes[2:] {
		gone = append(gone, n.ID().String())
		require.NoError(t, n.Close())
	}
	for _, id := range gone {
		eventually(t, func() bool { return dead(nodes[0].Node(), id) }, "nobody misses it")
	}
	_, err := nodes[0].Remove(within(t, limit), backend.RemoveRequest{Names: []string{"c"}})
	require.Equal(t, backend.NoQuorum, backend.CodeOf(err), "%v", err)
	report, err := nodes[0].Remove(within(t, limit), backend.RemoveRequest{Names: []string{"c", "d"}, Force: true})
	require.NoError(t, err)
	require.Equal(t, []string{"e"}, report.Missing)
	_, err = nodes[0].Remove(within(t, limit), backend.RemoveRequest{Names: []string{"c", "d"}, Force: true, Confirm: true})
	require.Equal(t, backend.NotReady, backend.CodeOf(err), "%v", err)
	names := []string{"c", "d", "e"}
	report, err = nodes[0].Remove(within(t, limit), backend.RemoveRequest{Names: names, Force: true})
	require.NoError(t, err)
	require.Equal(t, 1.0, report.AtRisk)
	require.Zero(t, report.Epoch)
	report, err = nodes[0].Remove(within(t, limit), backend.RemoveRequest{Names: names, Force: true, Confirm: true})
	require.NoError(t, err)
	require.NotZero(t, report.Epoch)
	shaped(t, current(nodes[:2]...), "a", "b")
	for _, key := range keys {
		require.Equal(t, key, get(t, nodes[1].Node(), key))
	}
	put(t, nodes[0].Node(), "after", "yes")
	require.Equal(t, "yes", get(t, nodes[1].Node(), "after"))
	more := join(t, nodes[0].Node(), "f")
	shaped(t, append(current(nodes[:2]...), more...), "a", "b", "f")
}

// TestClientFollows: a client works by the newest configuration too.
func TestClientFollows(t *testing.T) {
	t.Parallel()
	nodes := openRing(t, 1)
	client := openNode(t, Config{Name: "client", Role: RoleClient, Seeds: []string{nodes[0].GossipAddr()}})
	waitReady(t, client)
	nodes = append(nodes, join(t, nodes[0], "m1", "m2")...)
	shaped(t, append(nodes, client), "m0", "m1", "m2")
	put(t, client, "k", "v")
	require.NoError(t, nodes[0].Leave(within(t, limit)))
	require.NoError(t, nodes[0].Close())
	shaped(t, append(nodes[1:], client), "m1", "m2")
	require.Equal(t, "v", get(t, client, "k"))
	require.Equal(t, backend.Invalid, backend.CodeOf(client.Leave(within(t, limit))))
}

// startInstance starts an instance on loopback and closes it with the test.
func startInstance(t testing.TB, cfg Config) *Instance {
	t.Helper()
	onLoopback(&cfg)
	i, err := Start(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, i.Close()) })
	return i
}

// refusedDirectory starts a member with a directory that is not its newest, again
// and again as a service manager does.
func refusedDirectory(t testing.TB, cfg Config, dir string) {
	t.Helper()
	cfg.DataDir = dir
	for i := range 5 {
		onLoopback(&cfg)
		n, err := Open(cfg)
		if i > 0 {
			require.ErrorIs(t, err, store.ErrRefused)
			require.ErrorContains(t, err, "it was restored from a backup or copied")
			continue
		}
		require.NoError(t, err)
		select {
		case <-n.Done():
		case <-n.Ready():
			t.Error("it came back")
		case <-time.After(limit):
			t.Error("it goes on")
		}
		require.ErrorAs(t, n.Err(), new(*RestoredError))
		require.Nil(t, n.ring.Load())
		require.NoError(t, n.Close())
	}
}

// TestRestoredFromBackup: a member does not come back with a data directory that
// is older than what the others have seen of it.
func TestRestoredFromBackup(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Hour, "a", "b", "c")
	put(t, nodes[0].Node(), "k", "old")
	require.NoError(t, nodes[2].Close())
	backup := t.TempDir()
	require.NoError(t, os.CopyFS(backup, os.DirFS(configs[2].DataDir)))
	for range 2 {
		again := startInstance(t, configs[2])
		shaped(t, current(again), "a", "b", "c")
		put(t, again.Node(), "k", "new")
		eventually(t, func() bool { return nodes[0].Node().peers.alive(again.ID().Node()) }, "it is not seen")
		require.NoError(t, again.Close())
	}
	refusedDirectory(t, configs[2], backup)
}

// TestRestoredFromThisLife: nor with one that was copied while it ran, last.
func TestRestoredFromThisLife(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Hour, "a", "b", "c")
	c := nodes[2].Node()
	put(t, c, "k", "old")
	snapshot := t.TempDir()
	require.NoError(t, os.CopyFS(snapshot, os.DirFS(configs[2].DataDir)))
	before := c.reserved()
	eventually(t, func() bool { // the marks are ahead
		put(t, c, "k", "new")
		return c.reserved() > before
	}, "the marks do not rise")
	told := func(n *Node) uint64 {
		n.peers.mu.Lock()
		defer n.peers.mu.Unlock()
		return n.peers.all[c.id.Node()].reserved
	}
	eventually(t, func() bool { return told(nodes[0].Node()) > before && told(nodes[1].Node()) > before }, "c does not tell")
	require.NoError(t, nodes[2].Close())
	refusedDirectory(t, configs[2], snapshot)
	shaped(t, current(startInstance(t, configs[2])), "a", "b", "c") // the directory itself is as good as ever
}

// A port that was chosen by chance is kept, and one that was asked for is not given up
// for the one that others are told.
func TestSamePort(t *testing.T) {
	require.Equal(t, "127.0.0.1:7", samePort("127.0.0.1:0", "127.0.0.1:7"))
	require.Equal(t, "0.0.0.0:7946", samePort("0.0.0.0:7946", "203.0.113.1:17946"))
	require.Equal(t, "", samePort("", "127.0.0.1:7"))
}

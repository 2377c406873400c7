package chord

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
)

// openMembers starts n members that expect so many, without waiting for a ring.
func openMembers(t testing.TB, n, expect int, change func(i int, cfg *Config)) []*Node {
	t.Helper()
	var nodes []*Node
	var seeds []string
	for i := range n {
		cfg := Config{Name: fmt.Sprintf("m%d", i), Memory: true, Expect: expect, Seeds: seeds}
		if change != nil {
			change(i, &cfg)
		}
		nodes = append(nodes, openNode(t, cfg))
		seeds = []string{nodes[0].GossipAddr()}
	}
	return nodes
}

func TestMembersFoundARing(t *testing.T) {
	nodes := openRing(t, 3)
	for _, n := range nodes {
		s := status(t, n)
		require.Equal(t, status(t, nodes[0]).RingID, s.RingID)
		require.Equal(t, "serving", s.State)
		require.Empty(t, s.Reason)
		require.Equal(t, 3, s.Members)
		require.EqualValues(t, 1, s.Epoch)
	}
	put(t, nodes[1], "k", "v")
	require.Equal(t, "v", get(t, nodes[2], "k"))
}

func TestOneMoreThanExpectedIsAClient(t *testing.T) {
	nodes := openMembers(t, 4, 3, nil)
	members := 0
	for i, n := range nodes {
		waitReady(t, n)
		require.Equal(t, status(t, nodes[0]).RingID, status(t, n).RingID)
		require.Equal(t, 3, status(t, n).Members)
		if n.ring.Load().member {
			members++
		}
		put(t, n, fmt.Sprint("from ", n.cfg.Name), "v")
		require.Equal(t, "v", get(t, nodes[(i+1)%4], fmt.Sprint("from ", n.cfg.Name)))
	}
	require.Equal(t, 3, members)
	for _, n := range nodes {
		res, err := n.List(within(t, limit), backend.ListQuery{})
		require.NoError(t, err)
		require.Equal(t, []string{"from m0", "from m1", "from m2", "from m3"}, res.Names())
	}
}

// noRing requires that no node finds a ring but says all of these words.
func noRing(t *testing.T, n *Node, words ...string) {
	t.Helper()
	eventually(t, func() bool {
		for _, w := range words {
			if !strings.Contains(status(t, n).Reason, w) {
				return false
			}
		}
		return true
	}, "%s gives a reason with %q; it gives %q", n.cfg.Name, words, status(t, n).Reason)
	require.Nil(t, n.ring.Load())
	require.Equal(t, "starting", status(t, n).State)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := n.Put(ctx, "k", nil, backend.PutOptions{})
	require.Error(t, err)
}

func TestExpectMustBeTheSame(t *testing.T) {
	nodes := openMembers(t, 3, 3, func(i int, cfg *Config) {
		if i == 2 {
			cfg.Expect = 5
		}
	})
	noRing(t, nodes[0], `for 3 members`, `2 are here`, `"m2" expects 5`)
	noRing(t, nodes[2], `for 5 members`, `1 are here`, `"m0" expects 3`, `"m1" expects 3`)
}

func TestReplicasMustBeTheSame(t *testing.T) {
	nodes := openMembers(t, 2, 2, func(i int, cfg *Config) { cfg.Replicas = 3 + i })
	for range nodes { // the proposer is the one with the lower ID
		i := 0
		if nodes[1].ID().Compare(nodes[0].ID()) < 0 {
			i = 1
		}
		noRing(t, nodes[i], fmt.Sprintf("%q has replicas = %d, the proposer %d", nodes[1-i].cfg.Name, 4-i, 3+i))
	}
}

// TestReplicasOfTheRing: a member that comes later, or again, with other replicas
// is told both numbers.
func TestReplicasOfTheRing(t *testing.T) {
	dir := t.TempDir()
	first := openNode(t, Config{Name: "a", DataDir: dir, Expect: 1, Replicas: 3})
	waitReady(t, first)
	late := openNode(t, Config{Name: "b", Memory: true, Replicas: 4, Seeds: []string{first.GossipAddr()}})
	noRing(t, late, "replicas", "4 here", "has 3")
	require.NoError(t, first.Close())
	_, err := Open(Config{Name: "a", DataDir: dir, GossipAddr: "127.0.0.1:0", MeshAddr: "127.0.0.1:0", Replicas: 5})
	require.ErrorContains(t, err, "replicas: it is 5 here")
	require.ErrorContains(t, err, "has 3")
	_, err = Open(Config{Name: "other", DataDir: dir, GossipAddr: "127.0.0.1:0", MeshAddr: "127.0.0.1:0"})
	require.ErrorContains(t, err, `belongs to "a"`)
	_, err = Open(Config{Name: "a", DataDir: dir, GossipAddr: "127.0.0.1:0", MeshAddr: "127.0.0.1:0", Tokens: 3})
	require.ErrorContains(t, err, "tokens: it is 3 here, and the ring has 64")
}

// TestRestartOfTheWholeRing: it is the same ring with the same data, and members
// that have data found no other one, whatever they expect.
func TestRestartOfTheWholeRing(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	nodes := openMembers(t, 3, 3, func(i int, cfg *Config) { cfg.Memory, cfg.DataDir = false, dirs[i] })
	for _, n := range nodes {
		waitReady(t, n)
	}
	id := status(t, nodes[0]).RingID
	fill(t, nodes, numbered("k/", 50))
	for _, n := range nodes {
		require.NoError(t, n.Close())
	}
	// One alone, which could found a ring of one if it were allowed to.
	alone := openNode(t, Config{Name: "m1", DataDir: dirs[1], Expect: 1})
	waitReady(t, alone)
	require.Equal(t, id, status(t, alone).RingID)
	require.False(t, status(t, alone).Quorum, "nobody else has been met")
	require.NoError(t, alone.Close())

	nodes = openMembers(t, 3, 3, func(i int, cfg *Config) { cfg.Memory, cfg.DataDir = false, dirs[i] })
	for _, n := range nodes {
		waitReady(t, n)
		require.Equal(t, id, status(t, n).RingID)
	}
	res, err := nodes[2].List(within(t, limit), backend.ListQuery{Prefix: "k/"})
	require.NoError(t, err)
	require.Equal(t, numbered("k/", 50), res.Names())
	require.Equal(t, "k/00007", get(t, nodes[0], "k/00007"))
	put(t, nodes[1], "k/00007", "new")
	require.Equal(t, "new", get(t, nodes[2], "k/00007"))
}

// TestFirstMemberLosesItsDisk: who founded the ring alone, and is started again as it
// was with an empty directory, comes back to the ring and founds no other one.
func TestFirstMemberLosesItsDisk(t *testing.T) {
	t.Parallel()
	first := openNode(t, Config{Name: "a", DataDir: t.TempDir(), Expect: 1})
	waitReady(t, first)
	rest := join(t, first, "b", "c")
	shaped(t, append(rest, first), "a", "b", "c")
	put(t, first, "k", "v")
	id, addr := status(t, first).RingID, first.GossipAddr()
	require.NoError(t, first.Close())
	eventually(t, func() bool { return dead(rest[0], first.id.String()) }, "nobody misses it")

	again := openNode(t, Config{Name: "a", DataDir: t.TempDir(), Expect: 1, GossipAddr: addr})
	waitReady(t, again)
	require.Equal(t, id, status(t, again).RingID, "it has founded a ring of its own")
	require.Equal(t, "v", get(t, again, "k"))
}

// TestFirstMemberWithAnotherKey: nor does it if it was given another gossip key, or
// none, and hears of the ring by the mesh alone.
func TestFirstMemberWithAnotherKey(t *testing.T) {
	t.Parallel()
	first := openNode(t, Config{Name: "a", DataDir: t.TempDir(), Expect: 1})
	waitReady(t, first)
	rest := join(t, first, "b")
	shaped(t, append(rest, first), "a", "b")
	addr := first.MeshAddr()
	require.NoError(t, first.Close())
	again := openNode(t, Config{Name: "a", DataDir: t.TempDir(), Expect: 1, MeshAddr: addr, GossipKeys: [][]byte{make([]byte, 16)}})
	noRing(t, again, `"b" at`, "is gossip_key the same")
}

// TestFounderThatMissedTheNews: a member that accepted and stopped before it heard
// that all did is in that ring when it is back, and nobody founds another.
func TestFounderThatMissedTheNews(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(store.Options{Dir: dir})
	require.NoError(t, err)
	v, err := loadVote(s)
	require.NoError(t, err)

	first := openNode(t, Config{Name: "a", Memory: true, Expect: 2})
	late := ring.Member{ID: ring.NodeID(s.Identity().Node), Name: "b", Addr: "127.0.0.1:1", Tokens: 64}
	conf := votersRing()
	conf.New.Members = append(conf.New.Members, first.self(), late)
	conf.Sort()
	b := first.vote.ballot(1<<40, first.id.Node())
	for _, vote := range []*vote{first.vote, v} {
		require.Empty(t, vote.prepare(&prepareRing{Set: memberIDs(conf), Ballot: b}, late).Refused)
		require.NoError(t, vote.accept(b, conf))
	}
	require.NoError(t, s.Close())

	// Neither got the news. They propose it again, and it is that very ring.
	second := openNode(t, Config{Name: "b", DataDir: dir, Expect: 2, Seeds: []string{first.GossipAddr()}})
	third := openNode(t, Config{Name: "c", Memory: true, Expect: 2, Seeds: []string{first.GossipAddr()}})
	for _, n := range []*Node{first, second, third} {
		waitReady(t, n)
		require.Equal(t, string(conf.RingID), status(t, n).RingID)
	}
	require.True(t, first.ring.Load().member)
	require.True(t, second.ring.Load().member)
	require.False(t, third.ring.Load().member)
	put(t, third, "k", "v")
	require.Equal(t, "v", get(t, second, "k"))
}

// TestBoundMemberProposes: the first three by ID are c, a and b. c is bound to a set
// that will never be, so a waits for c in vain; but b has accepted to found a ring
// with a, and sees to it. c says what holds it up.
func TestBoundMemberProposes(t *testing.T) {
	type seat struct {
		dir   string
		store *store.Store
		id    ring.ID
	}
	var seats []seat
	for range 3 {
		dir := t.TempDir()
		s, err := store.Open(store.Options{Dir: dir})
		require.NoError(t, err)
		seats = append(seats, seat{dir, s, ring.NodeID(s.Identity().Node)})
	}
	slices.SortFunc(seats, func(x, y seat) int { return x.id.Compare(y.id) })
	names := []string{"c", "a", "b"}
	member := func(i int) ring.Member {
		return ring.Member{ID: seats[i].id, Name: names[i], Addr: "127.0.0.1:1", Tokens: 64}
	}
	bind := func(i int, with ...ring.Member) *ring.Configuration {
		conf := votersRing()
		conf.New.Members = with
		conf.Sort()
		v, err := loadVote(seats[i].store)
		require.NoError(t, err)
		b := ballotAt(1, 0)
		require.Empty(t, v.prepare(&prepareRing{Set: memberIDs(conf), Ballot: b}, member(i)).Refused)
		require.NoError(t, v.accept(b, conf))
		return conf
	}
	bind(0, member(0), voter(255-1))
	conf := bind(2, member(1), member(2))
	var nodes []*Node
	var gossipAt []string
	for i, s := range seats {
		require.NoError(t, s.store.Close())
		nodes = append(nodes, openNode(t, Config{Name: names[i], DataDir: s.dir, Expect: 2, Seeds: gossipAt}))
		gossipAt = []string{nodes[0].GossipAddr()}
	}
	for _, n := range nodes[1:] {
		waitReady(t, n)
		require.Equal(t, string(conf.RingID), status(t, n).RingID)
		require.True(t, n.ring.Load().member)
	}
	noRing(t, nodes[0], "founding the ring", "v254")
}

package chord

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// TestChainGap: a member that returns and meets only one that joined later, and so
// does not know the configurations between, waits for those who do.
func TestChainGap(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Hour, "a", "b", "c")
	keys := numbered("x/", 50)
	fill(t, current(nodes...), keys)
	id := nodes[2].ID()
	require.NoError(t, nodes[2].Close())
	d := join(t, nodes[0].Node(), "d")[0]
	shaped(t, append(current(nodes[:2]...), d), "a", "b", "c", "d")
	e := join(t, nodes[0].Node(), "e")[0]
	shaped(t, append(current(nodes[:2]...), d, e), "a", "b", "c", "d", "e")
	require.NoError(t, nodes[0].Close())
	require.NoError(t, nodes[1].Close())
	require.NoError(t, d.Close())
	configs[2].Seeds = []string{e.GossipAddr()}
	back := startInstance(t, configs[2])
	eventually(t, func() bool {
		f := back.Node().follower
		f.mu.Lock()
		defer f.mu.Unlock()
		return back.Node().ring.Load() != nil && back.Node().reshaper.waits() != ""
	}, "it does not see that it is behind")
	configs[0].Seeds = []string{e.GossipAddr()}
	a := startInstance(t, configs[0])
	shaped(t, append(current(a, back), e), "a", "b", "c", "d", "e")
	require.Equal(t, id, back.ID(), "it dropped its data though others have the chain")
	for _, key := range keys {
		require.Equal(t, key, get(t, a.Node(), key))
	}
}

// What a member holds is given up only when nobody else can have the configurations
// that it lacks: not for one that joined later while a third member restarts.
func TestChainIsGone(t *testing.T) {
	for _, c := range []struct{ members, lack, alive, want string }{
		{"ace", "e", "e", ""},
		{"ace", "e", "ae", ""},
		{"ace", "ae", "ae", "gone"},
		{"abcde", "de", "de", ""},
		{"abcde", "bde", "abde", ""},
		{"abcde", "bde", "bde", "gone"},
		{"ce", "e", "e", "gone"},
		{"ce", "", "", ""},
		{"e", "e", "e", "gone"}, // this member was removed
	} {
		conf, names := &ring.Configuration{New: ring.Side{Replicas: 5}}, map[ring.ID]string{}
		for _, name := range strings.Split(c.members, "") {
			id := ring.NodeID([]byte(name))
			conf.New.Members, names[id] = append(conf.New.Members, ring.Member{ID: id, Name: name}), name
		}
		in := func(set string) func(ring.ID) bool {
			return func(id ring.ID) bool { return strings.Contains(set, names[id]) }
		}
		require.Equal(t, c.want == "gone", chainGone(conf, ring.NodeID([]byte("c")), in(c.lack), in(c.alive)), "%+v", c)
	}
}

// TestLeaveBesideDead: a change after which the ring could not do without those
// that are gone does not begin.
func TestLeaveBesideDead(t *testing.T) {
	t.Parallel()
	nodes, _ := ringOf(t, time.Hour, "a", "b", "c")
	put(t, nodes[0].Node(), "k", "v")
	id := nodes[2].ID().String()
	require.NoError(t, nodes[2].Close())
	eventually(t, func() bool { return dead(nodes[0].Node(), id) }, "nobody misses it")
	err := nodes[0].Leave(within(t, 2*time.Second))
	require.ErrorContains(t, err, "cannot do without c")
	put(t, nodes[1].Node(), "k", "w")
}

// TestOnlyJoinerDies: the second member of a ring dies while it copies, and half of
// every quorum with it; the first one goes back alone.
func TestOnlyJoinerDies(t *testing.T) {
	t.Parallel()
	a := openNode(t, Config{Name: "a", Memory: true, Expect: 1})
	waitReady(t, a)
	fill(t, []*Node{a}, numbered("k/", 2000))
	b := openNode(t, Config{Name: "b", Memory: true, Seeds: []string{a.GossipAddr()}, SyncRate: minRate})
	eventually(t, func() bool { return a.ring.Load().placement.Configuration().Joint() }, "it does not join")
	require.NoError(t, b.Close())
	shaped(t, []*Node{a}, "a")
	put(t, a, "k", "w")
}

// TestSeveralLeave: members that leave at once leave together, and nobody stands
// still.
func TestSeveralLeave(t *testing.T) {
	nodes, _ := ringOf(t, time.Hour, "a", "b", "c", "d", "e", "f")
	put(t, nodes[0].Node(), "k", "v")
	ctx, stop := context.WithCancel(within(t, limit))
	var readers, leavers sync.WaitGroup
	for _, n := range current(nodes...) {
		readers.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				if _, err := n.Get(ctx, "k", backend.GetOptions{}); err != nil && ctx.Err() == nil {
					t.Errorf("%s: %v", n.cfg.Name, err)
				}
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("%s stood still for %v", n.cfg.Name, took)
				}
			}
		})
	}
	for _, n := range current(nodes[3:]...) {
		leavers.Go(func() {
			if err := n.Leave(ctx); err != nil {
				t.Errorf("%s: %v", n.cfg.Name, err)
			}
		})
	}
	leavers.Wait()
	stop()
	readers.Wait()
}

// TestForcedOutReturns: who was removed by force and was not dead comes back as a
// new member.
func TestForcedOutReturns(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Hour, "a", "b", "c")
	fill(t, current(nodes...), numbered("x/", 50))
	id := nodes[2].ID()
	for _, n := range nodes[1:] {
		gone := n.ID().String()
		require.NoError(t, n.Close())
		eventually(t, func() bool { return dead(nodes[0].Node(), gone) }, "nobody misses it")
	}
	_, err := nodes[0].Remove(within(t, limit), backend.RemoveRequest{Names: []string{"b", "c"}, Force: true, Confirm: true})
	require.NoError(t, err)
	shaped(t, current(nodes[0]), "a")
	configs[2].Seeds = []string{nodes[0].GossipAddr()}
	back := startInstance(t, configs[2])
	eventually(t, func() bool { return back.ID() != id }, "it goes on with its old identity")
	shaped(t, current(nodes[0], back), "a", "c")
}

// TestForcedOutDropsAll: who is not in a forced configuration has dropped what it
// had before it enters another one.
func TestForcedOutDropsAll(t *testing.T) {
	nodes, _ := ringOf(t, time.Hour, "a", "b", "c")
	fill(t, current(nodes...), numbered("x/", 50))
	require.NoError(t, nodes[0].Close())
	require.NoError(t, nodes[1].Close())
	c := nodes[2].Node()
	conf := c.ring.Load().placement.Configuration()
	require.NoError(t, c.enter(within(t, limit), []*ring.Configuration{conf.Force([]ring.ID{c.id})}))
	<-c.Done()
	require.ErrorAs(t, c.Err(), new(*RemovedError))
}

// TestTwoForce: two operators who decide apart are told so; nobody follows both.
func TestTwoForce(t *testing.T) {
	nodes, _ := ringOf(t, time.Hour, "a", "b", "c", "d", "e")
	a, d := nodes[0].Node(), nodes[3].Node()
	conf := a.ring.Load().placement.Configuration()
	one, other := conf.Force([]ring.ID{nodes[1].ID(), nodes[2].ID(), nodes[4].ID()}), conf.Force([]ring.ID{nodes[1].ID(), nodes[2].ID()})
	require.NoError(t, a.impose(within(t, limit), a.id, one))
	if err := d.impose(within(t, limit), d.id, other); err != nil { // it has heard of the other decision by now
		require.ErrorContains(t, err, "decided apart")
		require.ErrorContains(t, a.impose(within(t, limit), d.id, other), "decided apart")
		return
	}
	require.ErrorContains(t, a.impose(within(t, limit), d.id, one), "decided apart")
	require.ErrorContains(t, d.impose(within(t, limit), a.id, other), "decided apart")
}

// TestCloseDuringRenewal: a call that waits for the next node ends with the
// instance.
func TestCloseDuringRenewal(t *testing.T) {
	nodes, _ := ringOf(t, time.Hour, "a", "b", "c")
	i := nodes[2]
	i.Node().renew("the test says so")
	done := make(chan error, 1)
	go func() {
		_, err := i.Get(context.Background(), "k", backend.GetOptions{})
		done <- err
	}()
	require.NoError(t, i.Close())
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatal("Get hangs")
	}
}

// TestRestoredOldConfiguration: a backup from when other members were in the ring
// is found out too, by those that are in it now.
func TestRestoredOldConfiguration(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Hour, "a", "b", "c")
	put(t, nodes[0].Node(), "k", "old")
	require.NoError(t, nodes[2].Close())
	backup := t.TempDir()
	require.NoError(t, os.CopyFS(backup, os.DirFS(configs[2].DataDir)))
	c := startInstance(t, configs[2])
	shaped(t, current(c), "a", "b", "c")
	more := join(t, nodes[0].Node(), "d", "e")
	shaped(t, append(current(nodes[0], nodes[1], c), more...), "a", "b", "c", "d", "e")
	for _, n := range nodes[:2] {
		require.NoError(t, n.Leave(within(t, limit)))
		require.NoError(t, n.Close())
	}
	shaped(t, append(current(c), more...), "c", "d", "e")
	put(t, more[0], "k", "new")
	id := c.ID().String()
	require.NoError(t, c.Close())
	eventually(t, func() bool { return dead(more[0], id) }, "nobody misses it")
	restored := configs[2]
	restored.DataDir, restored.Seeds = backup, []string{more[0].GossipAddr()}
	onLoopback(&restored)
	n, err := Open(restored)
	require.NoError(t, err)
	defer n.Close()
	select {
	case <-n.Done():
		require.ErrorAs(t, n.Err(), new(*RestoredError))
	case <-time.After(limit):
		t.Error("it serves")
	}
}

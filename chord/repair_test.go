package chord

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/gossip"
)

// allCompared waits until every member has compared with every other one.
func allCompared(t testing.TB, nodes []*Node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, func() bool {
			r := status(t, n).Repair
			return len(r.Behind) == 0 && r.LastSeconds >= 0
		}, "%s has compared with all", n.cfg.Name)
	}
}

// TestEachPairHasOneThatAsks, which is half of the time the one, and half of the
// time the other.
func TestEachPairHasOneThatAsks(t *testing.T) {
	nodes := openMembers(t, 2, 3, nil)
	require.NotEqual(t, asksOf(nodes[0].id, nodes[1].id), asksOf(nodes[1].id, nodes[0].id))
}

// TestReturnedMemberCatchesUp: what was written, changed and deleted while a member
// was away is there when it is back, though nobody reads anything.
func TestReturnedMemberCatchesUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	nodes := openMembers(t, 3, 3, func(i int, cfg *Config) {
		if i == 2 {
			cfg.Memory, cfg.DataDir = false, dir
		}
	})
	for _, n := range nodes {
		waitReady(t, n)
	}
	keys := numbered("k/", 90)
	fill(t, nodes, keys[:60])
	same(t, nodes, keys[:60])
	allCompared(t, nodes)
	require.NoError(t, nodes[2].Close())

	fill(t, nodes[:2], keys[60:])
	for i, key := range keys[:40] {
		if i < 20 {
			require.NoError(t, nodes[0].Delete(within(t, limit), key, backend.DeleteOptions{}))
		} else {
			put(t, nodes[1], key, "changed")
		}
	}
	back := openNode(t, Config{Name: "m2", DataDir: dir, Seeds: []string{nodes[0].GossipAddr()}})
	waitReady(t, back)
	nodes[2] = back
	same(t, nodes, keys)
	allCompared(t, nodes)
	for i, key := range keys {
		require.Equal(t, i >= 20, holds(t, back, key).live, key)
	}
	require.NotZero(t, status(t, back).Repair.Received)
	require.False(t, status(t, back).Repair.Running)
	// What was compared is compared again when one of the two comes back.
	nodes[0].repairs.gossiped(gossip.Node{ID: back.id, Boot: 1 << 60, State: gossip.Alive})
	require.Equal(t, []string{"m2"}, status(t, nodes[0]).Repair.Behind)
	nodes[2].repairs.gossiped(gossip.Node{ID: nodes[0].id, Boot: 1 << 60, State: gossip.Alive})
	allCompared(t, nodes)
}

// openCompared founds a ring of two that have so many keys and have compared them.
func openCompared(t *testing.T, n int) (nodes []*Node, keys []string) {
	t.Helper()
	nodes, keys = openRing(t, 2), numbered("k/", n)
	fill(t, nodes, keys)
	same(t, nodes, keys)
	allCompared(t, nodes)
	return nodes, keys
}

// TestOnlyWhatDiffersMoves: of several ranges one differs, and of that only the
// cells that do are copied, in both directions.
func TestOnlyWhatDiffersMoves(t *testing.T) {
	nodes, keys := openCompared(t, 2500)
	a, b := nodes[0], nodes[1]
	lose(t, a, keys[1100:1107])
	lose(t, b, keys[1200:1203])
	ctx := within(t, limit)
	c := comparisonOf(a, b)
	require.NoError(t, compareAll(ctx, c))
	require.Equal(t, []int{3, 1, 7, 3, 0}, []int{c.ranges, c.differing, c.received, c.given, c.left})
	same(t, nodes, keys)
	again := comparisonOf(b, a)
	require.NoError(t, compareAll(ctx, again))
	require.Equal(t, []int{3, 0, 0, 0, 0}, []int{again.ranges, again.differing, again.received, again.given, again.left})
	require.EqualValues(t, 7, status(t, a).Repair.Received)
	require.EqualValues(t, 3, status(t, a).Repair.Given)
	require.EqualValues(t, 3, status(t, b).Repair.Received)
}

// TestMoreHereThanThere: one that has nothing is given everything by pages.
func TestMoreHereThanThere(t *testing.T) {
	nodes, keys := openCompared(t, 2500)
	lose(t, nodes[1], keys)
	c := comparisonOf(nodes[0], nodes[1])
	require.NoError(t, compareAll(within(t, limit), c))
	require.Equal(t, []int{1, 1, 2500}, []int{c.ranges, c.differing, c.given})
	same(t, nodes, keys)
}

// TestDeletesStay: an owner that missed a delete gets it, and brings nothing back;
// one that has forgotten it is not given it again.
func TestDeletesStay(t *testing.T) {
	nodes := openRing(t, 3)
	put(t, nodes[0], "missed", "v")
	put(t, nodes[0], "forgotten", "v")
	same(t, nodes, []string{"missed", "forgotten"})
	allCompared(t, nodes)
	old, _, err := nodes[2].store.Load("missed")
	require.NoError(t, err)
	for _, key := range []string{"missed", "forgotten"} {
		require.NoError(t, nodes[0].Delete(within(t, limit), key, backend.DeleteOptions{}))
	}
	same(t, nodes, []string{"missed", "forgotten"})
	lose(t, nodes[2], []string{"forgotten"})
	onDisk(t, nodes[2], []register.Write{{Seq: 1, Key: "missed", Cell: old}})

	c := comparisonOf(nodes[2], nodes[0])
	require.NoError(t, compareAll(within(t, limit), c))
	require.Equal(t, []int{1, 0, 0}, []int{c.received, c.given, c.left})
	require.Equal(t, held{}, holds(t, nodes[2], "forgotten"))
	require.False(t, holds(t, nodes[2], "missed").live)
	for _, n := range nodes {
		require.Empty(t, get(t, n, "missed"))
	}
}

// TestUnsettledCopiesAreLeft: without a quorum a cell that a promise is in the way of
// is given up in time, and nothing stays behind in the shard.
func TestUnsettledCopiesAreLeft(t *testing.T) {
	nodes := openRing(t, 3)
	put(t, nodes[0], "k", "v")
	same(t, nodes, []string{"k"})
	g := nodes[0].ring.Load().placement.Group("k")
	owner, other, gone := nodeOf(nodes, g.Owner(1)), nodeOf(nodes, g.Owner(2)), nodeOf(nodes, g.Owner(0))
	cell, _, err := owner.store.Load("k")
	require.NoError(t, err)
	d := owner.driver(owner.ring.Load(), "k")
	// A later ballot is promised, and then nobody is left to settle it with.
	higher := register.Ballot{Time: cell.Accepted.Time + 1<<20, Node: 9}
	d.input(func(now register.Now) {
		d.shard.Step(now, 9, &register.Message{Kind: register.MsgPrepare, Key: "k", Epoch: 1, Round: 1, Time: higher.Time, Ballot: higher})
	})
	lose(t, owner, []string{"k"})
	require.NoError(t, gone.Close())
	require.NoError(t, other.Close())
	outcomes, err := owner.adoptAll(within(t, 200*time.Millisecond), owner.ring.Load(), []string{"k"}, [][]byte{register.AppendCell(nil, &cell)})
	require.NoError(t, err)
	require.Equal(t, []register.Outcome{register.NoQuorum}, outcomes)
	require.NotSame(t, owner.driver(owner.ring.Load(), ringKey), d, "which is read now and then")
	d.mu.Lock()
	defer d.mu.Unlock()
	require.Zero(t, d.shard.Busy()+len(d.callers))
}

// TestComparisonRestsWhereHostsWrite: where a second look finds that all differences
// were writes under way, and not where something is lacking.
func TestComparisonRestsWhereHostsWrite(t *testing.T) {
	nodes, keys := openCompared(t, 30)
	a, b := nodes[0], nodes[1]
	c := comparisonOf(a, b)
	lose(t, a, keys[3:5])
	lose(t, b, keys[7:8])
	look := func() []difference {
		diffs, _, _, err := c.look(within(t, limit), "", "")
		require.NoError(t, err)
		return diffs
	}
	lacking := look()
	require.Len(t, lacking, 3)
	wasUnderWay := difference{key: keys[0], newer: held{register.Ballot{Time: register.MaxTime}, true}, theirs: true}
	left, err := c.leaveUnderWay(within(t, writtenRest), append([]difference{wasUnderWay}, lacking...))
	require.NoError(t, err)
	require.Equal(t, lacking, left)

	left, err = c.leaveUnderWay(within(t, writtenRest), []difference{wasUnderWay})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, left)

	_, err = a.onPage(within(t, limit), &pageRequest{Epoch: 1, For: b.id.Bytes(), Keys: make([]string, maxPageLimit+1)})
	require.ErrorContains(t, err, "10001 keys")
}

// TestComparisonBeginsAnew: one that was told that all is compared, and has come
// back since, says so.
func TestComparisonBeginsAnew(t *testing.T) {
	nodes := openRing(t, 2)
	allCompared(t, nodes)
	a, b := nodes[0], nodes[1]
	ctx := within(t, limit)
	c := comparisonOf(a, b)
	tell := func() error {
		return c.call(ctx, callCompared, &comparedRequest{Epoch: 1, From: a.id.Bytes()}, nil)
	}
	require.ErrorContains(t, tell(), errFromStart.Error())
	require.NoError(t, compareAll(ctx, c))
	require.NoError(t, tell())
	require.NoError(t, compareAll(ctx, c))
	b.repairs.gossiped(gossip.Node{ID: a.id, Boot: 1 << 60, State: gossip.Alive})
	require.ErrorContains(t, tell(), errFromStart.Error())
}

// TestComparisonGoesOn where it was cut short, if nobody came back.
func TestComparisonGoesOn(t *testing.T) {
	nodes, keys := openCompared(t, 2500)
	a, b := nodes[0], nodes[1]
	r := newRepairer(a) // which does not run
	r.follow(a.ring.Load())
	p := r.pairs[b.id]
	c := comparisonOf(a, b)
	c.limit = rate.NewLimiter(1, 100_000) // enough for one range
	_, err := r.walk(within(t, limit), c, p, 0, "", 0)
	require.ErrorContains(t, err, "would exceed")
	require.Equal(t, 1, c.ranges)
	require.Equal(t, keys[998], p.after, "after the vote of the founding and 999 keys")

	c = comparisonOf(a, b)
	whole, err := r.walk(within(t, limit), c, p, 0, p.after, 0)
	require.NoError(t, err)
	require.True(t, whole)
	require.Equal(t, 2, c.ranges)

	_, err = r.walk(within(t, limit), comparisonOf(a, b), p, 0, keys[998], 0)
	require.ErrorContains(t, err, errFromStart.Error(), "b was not asked from the start since")
	_, err = r.walk(within(t, limit), comparisonOf(a, b), p, 7, "", 0)
	require.ErrorIs(t, err, errFromStart, "b came back meanwhile")
}

// TestReturnedGoesFirst: who came back goes before who is due for longer, also when a
// comparison with that one is under way.
func TestReturnedGoesFirst(t *testing.T) {
	nodes := openRing(t, 3)
	allCompared(t, nodes)
	r := newRepairer(nodes[0]) // which does not run
	r.follow(nodes[0].ring.Load())
	due, back := r.pairs[nodes[1].id], r.pairs[nodes[2].id]
	now := time.Now()
	for _, p := range []*pair{due, back} {
		p.asks, p.behind = true, false
	}
	due.due, back.due = now.Add(-time.Minute), now.Add(-time.Second)
	choose := func(under *pair) *pair {
		_, p := r.choose(under)
		return p
	}
	require.Same(t, due, choose(nil))
	require.Nil(t, choose(back), "it goes on")
	r.gossiped(gossip.Node{ID: back.member.ID, Boot: 1, State: gossip.Alive})
	require.Same(t, back, choose(nil))
	require.Same(t, back, choose(due))
	require.Nil(t, choose(back))
	r.compared(back)
	require.Same(t, due, choose(nil))
	require.True(t, r.last.IsZero(), "one is left")
	r.compared(due)
	require.Nil(t, choose(nil), "nothing is due")
	require.False(t, r.last.IsZero())
	r.gossiped(gossip.Node{ID: back.member.ID, Boot: 1, State: gossip.Alive})
	require.Nil(t, choose(nil), "it was there all the time")
	r.gossiped(gossip.Node{ID: back.member.ID, Boot: 1, State: gossip.Suspect})
	r.gossiped(gossip.Node{ID: back.member.ID, Boot: 1, State: gossip.Alive})
	require.Same(t, back, choose(nil), "it was not reached for a while")
	due.asks, back.asks = false, false
	require.Nil(t, choose(nil), "the others ask")
}

// TestPartnersWhileTheRingChanges: those of Old, among themselves, and nobody while
// nothing can be decided.
func TestPartnersWhileTheRingChanges(t *testing.T) {
	nodes := openRing(t, 2)
	r := newRepairer(nodes[0])
	final := nodes[0].ring.Load().placement.Configuration()
	partners := func(conf *ring.Configuration, member bool) (names []string) {
		for _, m := range r.partners(&ringState{placement: ring.NewPlacement(conf), member: member}) {
			names = append(names, m.Name)
		}
		return names
	}
	joiner := ring.Member{ID: ring.NodeID([]byte("joiner")), Name: "joiner", Addr: "127.0.0.1:1", Tokens: 8}
	joint, err := final.Begin(ring.Plan{Join: []ring.Member{joiner}})
	require.NoError(t, err)
	require.Equal(t, []string{"m1"}, partners(final, true))
	require.Equal(t, []string{"m1"}, partners(joint, true))
	require.Len(t, partners(joint.Finish(false), true), 2)
	require.Empty(t, partners(final, false))
	forced := final.Force(nil)
	require.Empty(t, partners(forced, true))
	require.Equal(t, []string{"m1"}, partners(forced.Finish(false), true))
	r.node = &Node{id: joiner.ID}
	require.Empty(t, partners(joint, true))
}

package gossip

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var testTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func testNode(name string, boot uint64) Node {
	return Node{ID: testID(name), Name: name, Role: RoleMember, Boot: boot, GossipAddr: name + ":1"}
}

// life is a life of a node.
func life(name string, boot uint64) *Node {
	n := testNode(name, boot)
	return &n
}

func (t *table) state(name string) State {
	if e, ok := t.nodes[testID(name)]; ok {
		return e.State
	}
	return 0
}

func TestTableLivesOfANode(t *testing.T) {
	tb := newTable()
	now := testTime
	require.True(t, tb.set(testNode("a", 2), now))
	require.False(t, tb.set(testNode("a", 1), now), "an earlier life")
	require.False(t, tb.end(life("a", 1), now), "its death")
	require.False(t, tb.answered(life("a", 1), false, now))
	require.False(t, tb.end(life("unknown", 1), now))
	require.False(t, tb.answered(life("a", 2), true, now), "no news")
	require.True(t, tb.answered(life("a", 2), false, now))
	require.Equal(t, Suspect, tb.state("a"))
	require.True(t, tb.set(testNode("a", 2), now))
	require.Equal(t, Suspect, tb.state("a"), "what it says of itself may be old")
	require.True(t, tb.answered(life("a", 2), true, now))
	require.Equal(t, Alive, tb.state("a"))
	require.True(t, tb.end(life("a", 2), now))
	require.Equal(t, Dead, tb.state("a"))
	require.Equal(t, 0, tb.living())
	require.False(t, tb.answered(life("a", 2), true, now), "only memberlist raises the dead")
	require.True(t, tb.set(testNode("a", 3), now))
	require.Equal(t, Alive, tb.state("a"))
	require.Equal(t, 1, tb.living())
}

// TestTableReturning: a life that returns takes no living one's place, and leaves
// its own to any that does not.
func TestTableReturning(t *testing.T) {
	tb := newTable()
	returns := testNode("a", 3)
	returns.Returning = true
	require.True(t, tb.set(returns, testTime), "nobody else has it")
	require.True(t, tb.set(testNode("a", 2), testTime))
	require.False(t, tb.set(returns, testTime), "the other one lives")
	require.True(t, tb.answered(life("a", 2), false, testTime))
	require.False(t, tb.set(returns, testTime), "it may only be slow")
	require.True(t, tb.end(life("a", 2), testTime))
	require.True(t, tb.set(returns, testTime))
	require.Equal(t, 1, tb.living())
	returns.Returning = false
	require.True(t, tb.set(returns, testTime))
	require.False(t, tb.set(testNode("a", 2), testTime))
	returns.Boot, returns.Returning = 4, true
	require.False(t, tb.set(returns, testTime))
	returns.Returning = false
	require.True(t, tb.set(returns, testTime), "it was let in")
	require.Equal(t, 1, tb.living())
}

func TestTableLeaveBeforeAndAfterDeath(t *testing.T) {
	tb := newTable()
	id := testID("a")
	tb.set(testNode("a", 1), testTime)
	news, changed := tb.leave(id, 1)
	require.True(t, news)
	require.False(t, changed)
	news, _ = tb.leave(id, 1)
	require.False(t, news, "said before")
	tb.end(life("a", 1), testTime)
	require.Equal(t, Left, tb.state("a"))

	tb.set(testNode("a", 2), testTime)
	tb.end(life("a", 2), testTime)
	require.Equal(t, Dead, tb.state("a"), "the intent was of the last life")
	news, changed = tb.leave(id, 2)
	require.True(t, news)
	require.True(t, changed)
	require.Equal(t, Left, tb.state("a"))
}

func TestTableForgets(t *testing.T) {
	tb := newTable()
	for i := range MaxGone + 20 {
		n := testNode(fmt.Sprint(i), 1)
		if i >= MaxGone+10 {
			n.Role = RoleClient
		}
		now := testTime.Add(time.Duration(i) * time.Second)
		tb.set(n, now)
		tb.end(&n, now)
	}
	tb.set(testNode("alive", 1), testTime)
	tb.trim(testTime.Add(time.Hour))
	require.Len(t, tb.nodes, MaxGone+1)
	require.Equal(t, 1, tb.living())
	require.Zero(t, tb.state(fmt.Sprint(MaxGone+15)), "clients first")
	require.Zero(t, tb.state("9"), "then the longest gone")
	require.Equal(t, Dead, tb.state("10"))
	tb.trim(testTime.Add(keepGone + time.Hour))
	require.Len(t, tb.nodes, 1)
	require.Equal(t, 1, tb.living())
}

func TestTableDueTakesTurns(t *testing.T) {
	tb := newTable()
	for i := range 40 {
		tb.set(testNode(fmt.Sprint(i), 1), testTime)
	}
	tb.set(testNode("dead", 1), testTime)
	tb.end(life("dead", 1), testTime)
	seen := map[string]bool{}
	for round := range 5 {
		due := tb.due(maxPings, testTime.Add(time.Duration(round)*time.Second))
		require.Len(t, due, maxPings)
		for _, n := range due {
			seen[n.Name] = true
		}
	}
	require.Len(t, seen, 40)
	require.NotContains(t, seen, "dead")
}

func TestTableNamesake(t *testing.T) {
	tb := newTable()
	a := testNode("a", 1)
	tb.set(a, testTime)
	other := testNode("a", 1)
	other.ID, other.GossipAddr = testID("other"), "other:1"
	holder, ok := tb.namesake(&other)
	require.True(t, ok)
	require.Equal(t, a.ID, holder.ID)
	_, ok = tb.namesake(&a)
	require.False(t, ok, "not itself")
	other.GossipAddr = a.GossipAddr
	_, ok = tb.namesake(&other)
	require.False(t, ok, "whoever has its port has outlived it")
	other.GossipAddr = "other:1"
	tb.answered(&a, false, testTime)
	_, ok = tb.namesake(&other)
	require.False(t, ok, "one that does not answer holds no name")
}

func TestStateString(t *testing.T) {
	for s, want := range map[State]string{Alive: "alive", Suspect: "suspect", Dead: "dead", Left: "left", 0: "State(0)"} {
		require.Equal(t, want, s.String())
	}
}

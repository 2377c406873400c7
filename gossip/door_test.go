package gossip

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

func inRing(id ring.RingID, c Config) Config {
	c.RingID, c.Epoch = id, 1
	return c
}

// knows returns the rings of the others that p knows.
func (p *peer) knows() (ids []ring.RingID) {
	for _, n := range p.Members() {
		if n.ID != p.Self().ID && !slices.Contains(ids, n.RingID) {
			ids = append(ids, n.RingID)
		}
	}
	slices.Sort(ids)
	return ids
}

func TestRingsRefuseEachOther(t *testing.T) {
	a := start(t, inRing(ringA, testConfig("a")))
	b := start(t, inRing(ringB, testConfig("b")))
	a2 := start(t, inRing(ringA, testConfig("a2", a, b)))
	b2 := start(t, inRing(ringB, testConfig("b2", b, a)))
	meet(t, 10*time.Second, a, a2)
	meet(t, 10*time.Second, b, b2)
	n, err := a.Join([]string{b.Self().GossipAddr})
	require.Zero(t, n)
	require.ErrorIs(t, err, ErrRefused)
	for _, want := range []string{string(ringA), string(ringB), a.Self().GossipAddr, b.Self().GossipAddr} {
		require.ErrorContains(t, err, want)
	}
	const line = "refused a node of another ring"
	for _, p := range []*peer{a, b} {
		eventually(t, 5*time.Second, "a log line on both sides", func() bool { return strings.Contains(p.log.String(), line) })
		text := p.log.String()
		for _, want := range []string{"ring=" + string(p.Self().RingID), "other_ring=", p.Self().GossipAddr} {
			require.Contains(t, text, want)
		}
	}
	// Ten more calls add no line.
	for range 10 {
		_, err := a.Join([]string{b.Self().GossipAddr})
		require.ErrorIs(t, err, ErrRefused)
	}
	require.Equal(t, 1, strings.Count(a.log.String(), line))
	require.Equal(t, []ring.RingID{ringA}, a.knows())
	require.Equal(t, []ring.RingID{ringB}, b.knows())
}

func TestNodeBetweenTwoRingsSettlesForOne(t *testing.T) {
	a := start(t, inRing(ringA, testConfig("a")))
	b := start(t, inRing(ringB, testConfig("b")))
	a2 := start(t, inRing(ringA, testConfig("a2", a)))
	b2 := start(t, inRing(ringB, testConfig("b2", b)))
	// Several nodes without a ring, with seeds in both, and with each other.
	var between []*peer
	for i := range 4 {
		seeds := []*peer{a, b, a2, b2}
		between = append(between, start(t, testConfig(fmt.Sprintf("r%d", i), append(slices.Clone(between), seeds[i%2:]...)...)))
	}
	// Everybody settles, and everybody of one ring knows everybody of it.
	all := append([]*peer{a, a2, b, b2}, between...)
	eventually(t, 20*time.Second, "all settle", func() bool {
		count := map[ring.RingID]int{}
		for _, p := range all {
			count[p.Self().RingID]++
		}
		for _, p := range all {
			alive := 1
			for _, n := range p.Members() {
				if n.ID != p.Self().ID && n.State == Alive && n.RingID == p.Self().RingID {
					alive++
				}
			}
			if p.Self().RingID == "" || alive != count[p.Self().RingID] || len(p.knows()) != 1 {
				return false
			}
		}
		return true
	})
	for _, p := range all {
		require.Equal(t, []ring.RingID{p.Self().RingID}, p.knows(), p.Self().Name)
		p.mu.Lock()
		told := slices.Clone(p.events)
		p.mu.Unlock()
		for _, n := range told {
			require.Contains(t, []ring.RingID{"", p.Self().RingID}, n.RingID, "nobody was ever told of a node of the other ring")
		}
	}
}

func TestNodesThatMetBeforeTheirRingsPart(t *testing.T) {
	a := start(t, testConfig("a"))
	a2 := start(t, testConfig("a2", a))
	b := start(t, testConfig("b", a))
	b2 := start(t, testConfig("b2", a))
	meet(t, 10*time.Second, a, a2, b, b2)
	// As if two groups had bootstrapped in the same moment.
	for _, p := range []*peer{a, a2} {
		require.NoError(t, p.SetRing(ringA, 1))
	}
	for _, p := range []*peer{b, b2} {
		require.NoError(t, p.SetRing(ringB, 1))
	}
	eventually(t, 20*time.Second, "the rings part", func() bool {
		return slices.Equal(a.knows(), []ring.RingID{ringA}) && slices.Equal(a2.knows(), []ring.RingID{ringA}) &&
			slices.Equal(b.knows(), []ring.RingID{ringB}) && slices.Equal(b2.knows(), []ring.RingID{ringB})
	})
	require.Contains(t, a.seen("b"), Left)
	// memberlist itself lets go too, so that nothing is spread any more.
	eventually(t, 30*time.Second, "memberlist parts", func() bool {
		return a.list.NumMembers() == 2 && a2.list.NumMembers() == 2 && b.list.NumMembers() == 2 && b2.list.NumMembers() == 2
	})
	meet(t, 10*time.Second, a, a2)
	meet(t, 10*time.Second, b, b2)
}

func TestGarbageIsRefused(t *testing.T) {
	a := start(t, testConfig("a"))
	good, err := encodeMeta(&Node{ID: testID("x"), Name: "x", Role: RoleMember, Boot: 1})
	require.NoError(t, err)
	for name, meta := range map[string][]byte{"empty": nil, "noise": []byte("hello"), "name of another": good} {
		c := memberlist.DefaultLocalConfig()
		c.Name, c.BindAddr, c.BindPort, c.LogOutput = name, "127.0.0.1", 0, &buffer{}
		c.Delegate = rawMeta(meta)
		m, err := memberlist.Create(c)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Shutdown()) })
		_, err = m.Join([]string{a.Self().GossipAddr})
		require.NoError(t, err, "the caller, which has no door, sees nothing wrong")
		line := "refused a node that is none of ours or of a version that this build cannot read: addr=" + m.LocalNode().Address()
		eventually(t, 5*time.Second, "a log line", func() bool { return strings.Contains(a.log.String(), line) })
	}
	require.Len(t, a.Members(), 1)
	require.Equal(t, 1, a.list.NumMembers())
}

// rawMeta is a delegate of a node that is none of ours.
type rawMeta []byte

func (r rawMeta) NodeMeta(int) []byte           { return r }
func (rawMeta) NotifyMsg([]byte)                {}
func (rawMeta) GetBroadcasts(int, int) [][]byte { return nil }
func (rawMeta) LocalState(bool) []byte          { return []byte("noise") }
func (rawMeta) MergeRemoteState([]byte, bool)   {}

func conflictOf(t *testing.T, p *peer) *ConflictError {
	t.Helper()
	select {
	case err := <-p.Conflict():
		var c *ConflictError
		require.ErrorAs(t, err, &c)
		return c
	case <-time.After(10 * time.Second):
		t.Fatalf("%s was not told of a conflict", p.Self().GossipAddr)
		return nil
	}
}

// second is the configuration of another node by that name.
func second(name string, seeds ...*peer) Config {
	c := testConfig(name, seeds...)
	c.ID = testID(name + ", the second")
	return c
}

func TestSecondOfOneNameIsTold(t *testing.T) {
	a := start(t, testConfig("a"))
	b := start(t, testConfig("b", a))
	c := start(t, testConfig("c", a))
	meet(t, 10*time.Second, a, b, c)
	t.Run("through a third", func(t *testing.T) {
		late := start(t, second("b", a))
		err := conflictOf(t, late)
		require.Equal(t, b.Self().ID, err.Node.ID)
		require.EqualError(t, err, fmt.Sprintf("the name %q is taken by node %s at %s; give this node another name", "b", b.Self().ID.Short(), b.Self().GossipAddr))
	})
	t.Run("directly, and from Join", func(t *testing.T) {
		late := start(t, second("b"))
		_, err := late.Join([]string{b.Self().GossipAddr})
		var conflict *ConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, b.Self().GossipAddr, conflict.Node.GossipAddr)
		_, err = late.Join([]string{a.Self().GossipAddr})
		require.ErrorAs(t, err, &conflict, "and again")
	})
	t.Run("when the first calls the second", func(t *testing.T) {
		late := start(t, second("b"))
		_, err := b.Join([]string{late.Self().GossipAddr})
		require.NoError(t, err, "it is no fault of the first")
		require.Equal(t, b.Self().ID, conflictOf(t, late).Node.ID)
	})
	meet(t, time.Second, a, b, c)
	require.Empty(t, b.Conflict())
	require.Equal(t, []State{Alive}, a.seen("b"))
}

// TestSameIdentityTwiceIsTold: of two lives that both answer one ends, and the other
// hears of it only if it asks.
func TestSameIdentityTwiceIsTold(t *testing.T) {
	for _, tc := range []struct {
		name      string
		boot      uint64
		returning bool
		ends      string
	}{
		{"a copy beside its original", 2, true, "second"},
		{"an old copy beside its original", 1, true, "second"},
		{"a copy of the same start", 5, true, "second"},
		{"one that was let in later", 6, false, "first"},
		{"an earlier one that thaws", 4, false, "second"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := start(t, testConfig("a"))
			c := testConfig("b", a)
			c.Boot = 5
			first := start(t, c)
			meet(t, 10*time.Second, a, first)
			c.Boot, c.Returning = tc.boot, tc.returning
			second := start(t, c)
			ends, stays := second, first
			if tc.ends == "first" {
				ends, stays = first, second
			}
			err := conflictOf(t, ends)
			require.True(t, err.SameID)
			require.Equal(t, stays.Self().GossipAddr, err.Node.GossipAddr)
			require.ErrorContains(t, err, "another process runs with the identity")
			conflict := ends.FaceRivals()
			require.ErrorAs(t, conflict, new(*ConflictError), "and again")
			for range 3 {
				_, err := stays.Join([]string{ends.Self().GossipAddr, a.Self().GossipAddr})
				require.NotErrorAs(t, err, new(*ConflictError))
				require.NoError(t, stays.FaceRivals())
			}
			require.Empty(t, stays.Conflict())
			require.NoError(t, ends.Close())
			eventually(t, 15*time.Second, "the others have the one that stays", func() bool {
				return slices.Contains(a.Members(), stays.Self())
			})
		})
	}
}

// TestLetIn: one that returns, and whose last life does not answer, takes its place
// with the others once it is let in; a copy that is started then ends.
func TestLetIn(t *testing.T) {
	a := start(t, testConfig("a"))
	b := start(t, testConfig("b", a))
	meet(t, 10*time.Second, a, b)
	require.NoError(t, b.Close()) // at once, while a still holds it for alive
	c := testConfig("b", a)
	c.Boot, c.Returning = 2, true
	b = start(t, c)
	<-b.Called()
	require.NoError(t, b.FaceRivals())
	require.NoError(t, b.LetIn())
	eventually(t, 2*time.Second, "it is back", func() bool { return slices.Contains(a.Members(), b.Self()) })
	c.Boot = 3
	copied := start(t, c)
	require.Equal(t, b.Self().GossipAddr, conflictOf(t, copied).Node.GossipAddr)
	require.True(t, slices.Contains(a.Members(), b.Self()))
	require.Empty(t, b.Conflict())
}

func TestNameOfADeadNodeIsFree(t *testing.T) {
	a := start(t, testConfig("a"))
	b := start(t, testConfig("b", a))
	c := start(t, testConfig("c", a))
	meet(t, 10*time.Second, a, b, c)
	require.NoError(t, b.Close())
	late := start(t, second("b", a)) // at once, while the others still hold b for alive
	eventually(t, 15*time.Second, "the new b is let in", func() bool {
		return slices.Contains(a.Members(), late.Self()) && slices.Contains(c.Members(), late.Self())
	})
	require.Empty(t, late.Conflict())
}

func TestBefore(t *testing.T) {
	early := Node{ID: testID("early"), Started: 1}
	late := Node{ID: testID("late"), Started: 2}
	lateInRing := Node{ID: testID("late"), Started: 2, RingID: ringA, Epoch: 1}
	x, y := Node{ID: testID("x")}, Node{ID: testID("y")}
	require.True(t, before(&early, &late))
	require.False(t, before(&late, &early))
	require.True(t, before(&lateInRing, &early))
	require.False(t, before(&early, &lateInRing))
	require.NotEqual(t, before(&x, &y), before(&y, &x))
}

func TestErrRefusedIsFoundInMemberlistsText(t *testing.T) {
	err := explain(fmt.Errorf("failed to join: %v", fmt.Errorf("%w: because", ErrRefused)))
	require.ErrorIs(t, err, ErrRefused)
	require.NotErrorIs(t, explain(errors.New("no route")), ErrRefused)
}

// TestThawed: one that was out of reach while a later life of it was let in ends when
// it is back, and the later one stays. One that was only not yet let in does not end it.
func TestThawed(t *testing.T) {
	var cut *cutter
	a := start(t, testConfig("a"))
	c := start(t, testConfig("c", a))
	b := startOver(t, testConfig("b", a), func(w *wire) memberlist.Transport {
		cut = &cutter{wire: w}
		return cut
	})
	meet(t, 10*time.Second, a, b, c)
	cut.set(func(string) bool { return true })
	conf := testConfig("b", a)
	conf.Boot, conf.Returning = 2, true
	later := start(t, conf)
	<-later.Called()
	eventually(t, 10*time.Second, "b is missed", func() bool { return a.states()["b"] != Alive })
	require.NoError(t, later.FaceRivals())
	require.Empty(t, b.Conflict())
	require.NoError(t, later.LetIn())
	eventually(t, 10*time.Second, "it is let in", func() bool {
		return slices.Contains(a.Members(), later.Self()) && slices.Contains(c.Members(), later.Self())
	})
	cut.set(nil)
	require.Equal(t, later.Self().GossipAddr, conflictOf(t, b).Node.GossipAddr)
	require.NoError(t, b.Close())
	require.NoError(t, later.FaceRivals())
	require.Empty(t, later.Conflict())
	require.True(t, slices.Contains(a.Members(), later.Self()))
}

// TestOtherLife: whether another life is there is looked at when it is asked.
func TestOtherLife(t *testing.T) {
	a := start(t, testConfig("a"))
	b := start(t, testConfig("b", a))
	meet(t, 10*time.Second, a, b)
	asker := b.Self()
	_, yes := a.OtherLife(&asker)
	require.False(t, yes, "itself")
	asker.Boot++
	_, yes = a.OtherLife(&asker)
	require.False(t, yes, "the port is not free twice")
	asker.GossipAddr = "127.0.0.1:1"
	other, yes := a.OtherLife(&asker)
	require.True(t, yes)
	require.Equal(t, b.Self(), other)
	require.NoError(t, b.Close())
	_, yes = a.OtherLife(&asker)
	require.False(t, yes, "it does not answer any more")
	asker.ID = testID("unknown")
	_, yes = a.OtherLife(&asker)
	require.False(t, yes)
}

package chord

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// TestLacks is the rule of who is given what.
func TestLacks(t *testing.T) {
	nothing := held{}
	entry := func(time uint64) held { return held{register.Ballot{Time: time, Node: 1}, true} }
	tombstone := func(time uint64) held { return held{register.Ballot{Time: time, Node: 1}, false} }
	for _, c := range []struct {
		have, other held
		lacks       bool
	}{
		{nothing, nothing, false},
		{nothing, entry(1), true},
		{entry(1), entry(2), true},
		{entry(2), entry(1), false},
		{entry(1), entry(1), false},
		{tombstone(1), entry(2), true},
		{tombstone(2), entry(1), false},
		{entry(1), tombstone(2), true},
		{entry(2), tombstone(1), false},
		{nothing, tombstone(1), false},
		{tombstone(1), tombstone(2), false},
	} {
		require.Equal(t, c.lacks, c.have.lacks(c.other), "%v and %v", c.have, c.other)
	}
}

// anyCopies draws what an owner holds of a few keys.
func anyCopies(t *rapid.T, label string) []copyNote {
	var copies []copyNote
	for i := range 6 {
		if time := rapid.Uint64Range(0, 3).Draw(t, label); time > 0 {
			// A ballot stands for one value.
			copies = append(copies, copyNote{Key: fmt.Sprint("k", i), Time: time, Node: 7, Live: time != 2})
		}
	}
	return copies
}

// TestDigestsDifferIfOneLacks: two digests are the same exactly if the two owners
// have nothing to give each other.
func TestDigestsDifferIfOneLacks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mine, theirs := anyCopies(t, "mine"), anyCopies(t, "theirs")
		a, b := newDigest(), newDigest()
		cut := rapid.IntRange(0, len(mine)).Draw(t, "cut")
		a.add(mine[:cut])
		a.add(mine[cut:])
		b.add(theirs)
		diffs := differences(mine, theirs)
		require.Equal(t, len(diffs) == 0, bytes.Equal(a.sum(), b.sum()), "%v and %v: %v", mine, theirs, diffs)

		hold := func(copies []copyNote, key string) held {
			for i := range copies {
				if copies[i].Key == key {
					return copies[i].held()
				}
			}
			return held{}
		}
		for i := range 6 {
			key := fmt.Sprint("k", i)
			m, o := hold(mine, key), hold(theirs, key)
			at := slices.IndexFunc(diffs, func(d difference) bool { return d.key == key })
			switch {
			case m.lacks(o):
				require.Equal(t, difference{key: key, newer: o, older: m, theirs: true}, diffs[at])
			case o.lacks(m):
				require.Equal(t, difference{key: key, newer: m, older: o}, diffs[at])
			default:
				require.Negative(t, at)
			}
		}
		require.True(t, slices.IsSortedFunc(diffs, func(a, b difference) int { return bytes.Compare([]byte(a.key), []byte(b.key)) }))
	})
}

// TestDigestOfARange: the member that is asked picks the end of the range, and the
// asker gets the same digest over it.
func TestDigestOfARange(t *testing.T) {
	nodes := openRing(t, 2)
	keys := numbered("d/", 25)
	fill(t, nodes, keys)
	same(t, nodes, keys)
	a, b := nodes[0], nodes[1]
	ctx := within(t, limit)
	c := comparisonOf(a, b)
	var ends []string
	for after, more := "", true; more; {
		reply, err := b.onDigest(ctx, &digestRequest{Epoch: 1, For: a.id.Bytes(), After: after, Limit: 10})
		require.NoError(t, err)
		upTo := ""
		if reply.More {
			upTo = reply.Next
		}
		mine, err := c.digest(ctx, after, upTo)
		require.NoError(t, err)
		require.Equal(t, mine, reply.Hash)
		if reply.More {
			short, err := c.digest(ctx, after, "d/00001")
			require.NoError(t, err)
			require.NotEqual(t, short, reply.Hash)
		}
		ends = append(ends, reply.Next)
		after, more = reply.Next, reply.More
	}
	// The vote of the founding is the first internal key, and belongs to nobody else.
	require.Equal(t, []string{"d/00008", "d/00018", "d/00024"}, ends)
}

// TestDigestIsRefused: in another epoch, and by one that has not dropped what
// belongs to others.
func TestDigestIsRefused(t *testing.T) {
	nodes := openRing(t, 2)
	ask := func(epoch uint64) error {
		_, err := nodes[0].onDigest(t.Context(), &digestRequest{Epoch: epoch, For: nodes[1].id.Bytes()})
		return err
	}
	eventually(t, func() bool { return ask(1) == nil }, "it answers: %v", ask(1))
	require.ErrorIs(t, ask(2), &mesh.RemoteError{Code: codeStaleEpoch})
	st := *nodes[0].ring.Load()
	st.purged = make(chan struct{})
	nodes[0].ring.Store(&st)
	require.ErrorIs(t, ask(1), &mesh.RemoteError{Code: codeNotReady})
}

// comparisonOf compares two members as the first one would.
func comparisonOf(n, with *Node) *comparison {
	st := n.ring.Load()
	m, _ := st.placement.Configuration().Member(with.id)
	return &comparison{node: n, st: st, with: m, limit: n.repairs.limit}
}

// compareAll runs a whole comparison.
func compareAll(ctx context.Context, c *comparison) (err error) {
	for after, more := "", true; more && err == nil; {
		after, more, err = c.next(ctx, after)
	}
	return err
}

// holds returns what a member's disk has of a key.
func holds(t testing.TB, n *Node, key string) held {
	t.Helper()
	cell, _, err := n.store.Load(key)
	require.NoError(t, err)
	return held{cell.Accepted, cell.Value.Live}
}

// same waits until all nodes hold the same of all keys.
func same(t testing.TB, nodes []*Node, keys []string) {
	t.Helper()
	for _, key := range keys {
		eventually(t, func() bool {
			for _, n := range nodes[1:] {
				if holds(t, n, key) != holds(t, nodes[0], key) {
					return false
				}
			}
			return true
		}, "all hold the same of %q: %v", key, lazy(func() string {
			var all []held
			for _, n := range nodes {
				all = append(all, holds(t, n, key))
			}
			return fmt.Sprint(all)
		}))
	}
}

// lose takes cells off a member's disk behind its back.
func lose(t testing.TB, n *Node, keys []string) {
	t.Helper()
	var writes []register.Write
	for i, key := range keys {
		writes = append(writes, register.Write{Seq: uint64(i + 1), Key: key, Drop: true})
	}
	onDisk(t, n, writes)
}

// onDisk changes a member's disk behind its back.
func onDisk(t testing.TB, n *Node, writes []register.Write) {
	t.Helper()
	done := make(chan error, 1)
	n.store.Commit(0, writes, func(_ uint64, err error) { done <- err })
	require.NoError(t, <-done)
}

// nodeOf returns the node with that ID.
func nodeOf(nodes []*Node, id ring.Node) *Node {
	for _, n := range nodes {
		if n.id.Node() == id {
			return n
		}
	}
	return nil
}

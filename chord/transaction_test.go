package chord

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/store"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// unfinished counts the intents, and the statuses, that a member holds.
func unfinished(t testing.TB, n *Node) (intents, statuses int) {
	t.Helper()
	for after, more := "", true; more; {
		page, err := n.store.Scan(context.Background(), store.ScanOptions{After: after, Internal: true})
		require.NoError(t, err)
		for _, c := range page.Cells {
			after = c.Key
			if c.Cell.Value.Intent != nil {
				intents++
			}
			if _, ok := register.ParseTxnKey(c.Key); ok && c.Cell.Value.Live {
				statuses++
			}
		}
		more = page.More
	}
	return intents, statuses
}

// nothingLeft waits until no transaction has left anything at the members.
func nothingLeft(t testing.TB, members []*Node) {
	t.Helper()
	for _, n := range members {
		eventually(t, func() bool {
			intents, statuses := unfinished(t, n)
			return intents+statuses == 0
		}, "%s holds intents or statuses", n.cfg.Name)
	}
}

// set is a transaction that stores a value at each key.
func set(value string, keys ...string) []backend.TxnOp {
	ops := make([]backend.TxnOp, len(keys))
	for i, key := range keys {
		ops[i] = backend.TxnOp{Verb: backend.VerbSet, Key: key, Value: []byte(value)}
	}
	return ops
}

// abandon does what a coordinator does before it dies: a status, unless state is
// Absent, and intents.
func abandon(t testing.TB, n *Node, state register.State, value string, keys ...string) {
	t.Helper()
	abandonChange(t, n, state, register.Change{Data: []byte(value)}, keys...)
}

func abandonChange(t testing.TB, n *Node, state register.State, c register.Change, keys ...string) {
	t.Helper()
	r := registers{n, within(t, limit)}
	start, err := r.NewID()
	require.NoError(t, err)
	id := txn.ID{Start: start}
	change := func(key string, c register.Change) {
		t.Helper()
		res, err := r.Change(key, c)
		require.NoError(t, err)
		require.Equal(t, register.Done, res.Outcome)
	}
	if state != register.Absent {
		st := register.Status{State: state, Validates: true, Keys: keys}
		change(id.Key(), register.Change{Kind: register.Put, Data: register.AppendStatus(nil, &st), If: true})
	}
	c.Kind, c.Txn = register.Place, id
	for _, key := range keys {
		change(key, c)
	}
}

// TestAbandoned: what a dead coordinator left is seen as it stands, whatever looks
// at it, keeps nobody away for longer than the timeout and a second, and goes.
func TestAbandoned(t *testing.T) {
	t.Parallel()
	const timeout = 400 * time.Millisecond
	nodes := openMembers(t, 3, 3, func(_ int, cfg *Config) { cfg.txns.Timeout = timeout })
	for _, n := range nodes {
		waitReady(t, n)
	}
	for state, want := range map[register.State]string{register.Pending: "old", register.Committed: "new", register.Aborted: "old", register.Absent: "old"} {
		t.Run(state.String(), func(t *testing.T) {
			dir := state.String() + "/"
			keys := []string{dir + "a", dir + "b", dir + "c"}
			_, err := nodes[0].Txn(within(t, limit), set("old", keys...))
			require.NoError(t, err)
			nothingLeft(t, nodes)
			abandon(t, nodes[0], state, "new", append(keys, dir+"made")...)

			res, err := nodes[1].List(within(t, limit), backend.ListQuery{Prefix: dir, Values: true})
			require.NoError(t, err)
			require.Len(t, res.Items, map[string]int{"old": 3, "new": 4}[want])
			for _, it := range res.Items {
				require.Equal(t, want, string(it.Entry.Value), it.Name)
			}
			require.Equal(t, want, get(t, nodes[2], keys[0]))
			tree, err := nodes[2].Txn(within(t, limit), []backend.TxnOp{{Verb: backend.VerbGetTree, Key: dir}})
			require.NoError(t, err)
			require.Len(t, tree.Results, len(res.Items))

			start := time.Now()
			put(t, nodes[1], keys[1], "next")
			require.Less(t, time.Since(start), timeout+time.Second)
			start = time.Now()
			nothingLeft(t, nodes)
			require.Less(t, time.Since(start), timeout+3*time.Second)
			require.Equal(t, want, get(t, nodes[0], keys[2]))
			require.Equal(t, "next", get(t, nodes[0], keys[1]))
		})
	}
}

// TestListAroundIntents: pages and folders are made of what transactions say of the
// keys that they hold.
func TestListAroundIntents(t *testing.T) {
	t.Parallel()
	nodes := openRing(t, 3)
	fill(t, nodes, numbered("k/a/", 6))
	fill(t, nodes, numbered("k/b/", 3))
	remove, store := register.Change{Remove: true}, register.Change{Data: []byte("new")}
	abandonChange(t, nodes[0], register.Committed, remove, "k/a/00000", "k/a/00002", "k/b/00000", "k/b/00001", "k/b/00002")
	abandonChange(t, nodes[1], register.Committed, store, "k/a/00001", "k/a/00003x", "k/c/1", "k/none")
	abandonChange(t, nodes[2], register.Pending, remove, "k/a/00004")
	abandonChange(t, nodes[0], register.Aborted, store, "k/a/00005", "k/a/00005x", "k/d/1")
	abandonChange(t, nodes[0], register.Absent, store, "k/e/1")
	all := []string{"k/a/00001", "k/a/00003", "k/a/00003x", "k/a/00004", "k/a/00005", "k/c/1", "k/none"}
	values := map[string]string{"k/a/00001": "new", "k/a/00003x": "new", "k/c/1": "new", "k/none": "new"}
	for limit := range len(all) + 2 {
		for _, q := range []backend.ListQuery{{Prefix: "k/", Limit: limit, Values: true}, {Prefix: "k/", Limit: limit, Separator: "/", Values: true}} {
			want := all
			if q.Separator != "" {
				want = []string{"k/a/", "k/c/", "k/none"}
			}
			var got []string
			for more := true; more; {
				res, err := nodes[limit%3].List(within(t, 20*time.Second), q)
				require.NoError(t, err)
				for _, it := range res.Items {
					if value, changed := values[it.Name]; !it.Folded && changed {
						require.Equal(t, value, string(it.Entry.Value))
					} else if !it.Folded {
						require.Equal(t, it.Name, string(it.Entry.Value))
					}
				}
				got = append(got, res.Names()...)
				if more = res.More; more {
					require.Len(t, res.Items, limit)
					q.After = got[len(got)-1]
				}
			}
			require.Equal(t, want, got, "%+v", q)
		}
	}
}

// TestCoordinatorGoes closes coordinators at random moments of their transactions.
// Each leaves all of one behind or nothing, and locks nothing for long.
func TestCoordinatorGoes(t *testing.T) {
	t.Parallel()
	const timeout, rounds, pairs = 300 * time.Millisecond, 12, 4
	members := openMembers(t, 3, 3, func(_ int, cfg *Config) { cfg.txns.Timeout = timeout })
	for _, n := range members {
		waitReady(t, n)
	}
	pair := func(i int) []string { return []string{fmt.Sprint("a/", i), fmt.Sprint("b/", i)} }
	caught := 0
	for round := range rounds {
		client := openNode(t, Config{Name: fmt.Sprint("client", round), Role: RoleClient, Seeds: []string{members[0].GossipAddr()}})
		waitReady(t, client)
		var wg sync.WaitGroup
		var done atomic.Int64
		for i := range pairs {
			wg.Go(func() {
				for n := 0; ; n++ {
					_, err := client.Txn(t.Context(), set(fmt.Sprint(round, "-", n), pair(i)...))
					if client.closed.Load() {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					done.Add(1)
				}
			})
		}
		enough := int64(1 + rand.IntN(30))
		eventually(t, func() bool { return done.Load() > enough }, "transactions commit")
		require.NoError(t, client.Close())
		wg.Wait()
		if intents, _ := unfinished(t, members[0]); intents > 0 {
			caught++
		}
		for i := range pairs {
			res, err := members[i%3].Txn(within(t, limit), []backend.TxnOp{{Verb: backend.VerbGet, Key: pair(i)[0]}, {Verb: backend.VerbGet, Key: pair(i)[1]}})
			require.NoError(t, err)
			require.Equal(t, string(res.Results[0].Entry.Value), string(res.Results[1].Entry.Value), "half a transaction")
			start := time.Now()
			_, err = members[(i+1)%3].Txn(within(t, limit), set("after", pair(i)...))
			require.NoError(t, err)
			require.Less(t, time.Since(start), timeout+time.Second)
		}
	}
	t.Logf("%d of %d coordinators left intents", caught, rounds)
	nothingLeft(t, members)
}

// TestDisjointTransactions: writers of keys of their own, through all members, are
// in nobody's way.
func TestDisjointTransactions(t *testing.T) {
	nodes := openRing(t, 3)
	ctx := within(t, 2*limit)
	var wg sync.WaitGroup
	for w := range 100 {
		wg.Go(func() {
			keys := []string{fmt.Sprintf("w%d/a", w), fmt.Sprintf("w%d/b", w), fmt.Sprintf("w%d/c", w)}
			for i := range 5 {
				if _, err := nodes[w%3].Txn(ctx, set(fmt.Sprint(i), keys...)); err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, names(t, nodes[0], backend.ListQuery{Prefix: "w"}), 300)
	nothingLeft(t, nodes)
}

// TestIntentsSurviveRestart: what is on the disks of all members when they stop is
// what a transaction left, and is finished when they are back.
func TestIntentsSurviveRestart(t *testing.T) {
	t.Parallel()
	nodes, configs := ringOf(t, time.Hour, "a", "b", "c")
	_, err := nodes[0].Txn(within(t, limit), set("old", "x/1", "x/2", "y/1", "y/2"))
	require.NoError(t, err)
	nothingLeft(t, current(nodes...))
	abandon(t, nodes[0].Node(), register.Committed, "new", "x/1", "x/2")
	abandon(t, nodes[1].Node(), register.Pending, "new", "y/1", "y/2")
	for _, n := range nodes {
		require.Eventually(t, func() bool { // the last owner may still be at it
			intents, statuses := unfinished(t, n.Node())
			return intents == 4 && statuses == 2
		}, limit, time.Millisecond)
		require.NoError(t, n.Close())
	}
	for i := range configs {
		configs[i].txns.Timeout = 500 * time.Millisecond
		nodes[i] = startInstance(t, configs[i])
		configs[i].Seeds = []string{nodes[0].GossipAddr()}
		if i+1 < len(configs) {
			configs[i+1].Seeds = []string{nodes[0].GossipAddr()}
		}
	}
	for _, n := range nodes {
		waitReady(t, n.Node())
	}
	for key, want := range map[string]string{"x/1": "new", "x/2": "new", "y/1": "old", "y/2": "old"} {
		require.Equal(t, want, get(t, nodes[1].Node(), key), key)
	}
	put(t, nodes[2].Node(), "y/1", "next")
	nothingLeft(t, current(nodes...))
	require.Equal(t, "next", get(t, nodes[0].Node(), "y/1"))
	require.Equal(t, "old", get(t, nodes[0].Node(), "y/2"))
}

// TestLargestTransaction: the largest value and the largest intent beside it reach
// every owner; what is larger than both is refused, and changes nothing. It goes
// through the key's first owner, so that nobody competes for so much data.
func TestLargestTransaction(t *testing.T) {
	nodes := openMembers(t, 3, 3, func(_ int, cfg *Config) { cfg.MaxValueSize = largestValue + 1 })
	for _, n := range nodes {
		waitReady(t, n)
	}
	first := nodes[slices.IndexFunc(nodes, func(n *Node) bool { return n.ID() == n.ring.Load().placement.Owners("large")[0].ID })]
	ctx := within(t, 3*limit)
	for _, c := range []byte("123") {
		_, err := first.Txn(ctx, append(set(string(bytes.Repeat([]byte{c}, largestValue)), "large"), set("", "small")...))
		require.NoError(t, err)
		for _, n := range nodes {
			e, err := n.Get(ctx, "large", backend.GetOptions{})
			require.NoError(t, err)
			require.True(t, bytes.Equal(bytes.Repeat([]byte{c}, largestValue), e.Value), "another value than was written")
		}
		nothingLeft(t, nodes)
	}
	if largestValue < register.MaxCellData/2 {
		return // what is too large for both is too large for this build
	}
	_, err := first.Put(ctx, "large", make([]byte, largestValue+1), backend.PutOptions{})
	require.NoError(t, err)
	_, err = first.Txn(ctx, append(set(string(make([]byte, largestValue)), "large"), set("", "small")...))
	require.Equal(t, backend.TooLarge, backend.CodeOf(err), "%v", err)
	e, err := nodes[2].Get(ctx, "large", backend.GetOptions{})
	require.NoError(t, err)
	require.Len(t, e.Value, largestValue+1)
	nothingLeft(t, nodes)
}

// TestStatusesAreForgotten: a transaction leaves nothing on the disks.
func TestStatusesAreForgotten(t *testing.T) {
	t.Parallel()
	nodes := openMembers(t, 3, 3, func(_ int, cfg *Config) { cfg.forgetAge = 100 * time.Millisecond })
	for _, n := range nodes {
		waitReady(t, n)
	}
	for i := range 20 {
		_, err := nodes[i%3].Txn(within(t, limit), set("v", "k/1", "k/2"))
		require.NoError(t, err)
	}
	for _, n := range nodes {
		eventually(t, func() bool { return cellsUnder(t, n, register.TxnPrefix) == 0 }, "%s keeps statuses", n.cfg.Name)
	}
}

// TestEndWhileAnotherCallWaits: Commit and Rollback keep to their own time while another
// call of the transaction waits for a quorum, and it is over then.
func TestEndWhileAnotherCallWaits(t *testing.T) {
	nodes := openRing(t, 3)
	put(t, nodes[0], "k", "v")
	var txs []backend.Tx
	for range 2 {
		tx, err := nodes[0].Begin(within(t, limit), backend.TxOptions{})
		require.NoError(t, err)
		require.NoError(t, tx.Put(within(t, limit), "w", nil, backend.PutOptions{}))
		txs = append(txs, tx)
	}
	require.NoError(t, nodes[1].Close())
	require.NoError(t, nodes[2].Close())
	ends := []func(context.Context) error{txs[0].Commit, txs[1].Rollback}
	for i, tx := range txs {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = tx.Get(ctx, "k") })
		eventually(t, func() bool { return len(tx.(*transaction).free) == 1 }, "it does not read")
		ended := make(chan error, 1)
		wg.Go(func() { ended <- ends[i](within(t, 100*time.Millisecond)) })
		select {
		case err := <-ended:
			require.Equal(t, backend.NoQuorum, backend.CodeOf(err), "%v", err)
		case <-time.After(5 * time.Second):
			t.Error("it waits for the other call")
		}
		require.ErrorIs(t, tx.Commit(t.Context()), backend.ErrTxnDone, "the other call waits on")
		cancel()
		wg.Wait()
		require.ErrorIs(t, tx.Put(t.Context(), "k", nil, backend.PutOptions{}), backend.ErrTxnDone)
	}
}

// TestTransactionOfAClosedNode: a transaction does not outlive its node.
func TestTransactionOfAClosedNode(t *testing.T) {
	n := openRing(t, 1)[0]
	begin := func() backend.Tx {
		tx, err := n.Begin(t.Context(), backend.TxOptions{})
		require.NoError(t, err)
		return tx
	}
	tx, over := begin(), begin()
	require.NoError(t, over.Rollback(t.Context()))
	require.NoError(t, n.Close())
	_, err := tx.Get(t.Context(), "k")
	require.ErrorIs(t, err, backend.ErrClosed)
	require.ErrorIs(t, tx.Put(t.Context(), "k", nil, backend.PutOptions{}), backend.ErrClosed)
	require.ErrorIs(t, over.Put(t.Context(), "k", nil, backend.PutOptions{}), backend.ErrTxnDone)
	require.ErrorIs(t, tx.Commit(t.Context()), backend.ErrClosed)
	require.ErrorIs(t, tx.Commit(t.Context()), backend.ErrTxnDone)
	_, err = n.Txn(t.Context(), set("v", "k", "l"))
	require.ErrorIs(t, err, backend.ErrClosed)
	_, err = n.Begin(t.Context(), backend.TxOptions{})
	require.ErrorIs(t, err, backend.ErrClosed)
}

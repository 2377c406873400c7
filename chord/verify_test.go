package chord

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
)

// verify asks for one page.
func verify(t testing.TB, n *Node, q backend.VerifyQuery) *backend.VerifyPage {
	t.Helper()
	page, err := n.Verify(within(t, limit), q)
	require.NoError(t, err)
	return page
}

// TestVerifyFindsLostCopies and mends them, also when a client is asked.
func TestVerifyFindsLostCopies(t *testing.T) {
	t.Parallel()
	nodes := openRing(t, 3)
	client := openNode(t, Config{Name: "client", Role: RoleClient, Seeds: []string{nodes[0].GossipAddr()}})
	waitReady(t, client)
	keys := numbered("k/", 40)
	fill(t, nodes, keys)
	same(t, nodes, keys)
	allCompared(t, nodes)
	require.Equal(t, &backend.VerifyPage{Keys: 40}, verify(t, client, backend.VerifyQuery{}))

	for i, n := range []*Node{client, nodes[0], nodes[2]} {
		lost := keys[10*i : 10*i+3]
		lose(t, nodes[1], lost)
		page := verify(t, n, backend.VerifyQuery{})
		require.Equal(t, 40, page.Keys)
		require.Len(t, page.Problems, 3)
		require.Equal(t, backend.KeyProblem{Key: lost[0], Missing: []string{"m1"}, Copies: 2, Owners: 3}, page.Problems[0])
		page = verify(t, n, backend.VerifyQuery{Repair: true})
		require.Equal(t, &backend.VerifyPage{Keys: 40, Repaired: 3}, page)
		require.Empty(t, verify(t, n, backend.VerifyQuery{}).Problems)
		for _, key := range lost {
			require.True(t, holds(t, nodes[1], key).live)
		}
	}
}

// TestVerifyGoesByPages: all pages together are all keys, each once, the ring's own
// register included.
func TestVerifyGoesByPages(t *testing.T) {
	t.Parallel()
	nodes := openRing(t, 2)
	nodes = append(nodes, join(t, nodes[0], "m2")...)
	shaped(t, nodes, "m0", "m1", "m2")
	keys := numbered("k/", 300)
	fill(t, nodes, keys)
	same(t, nodes, keys)
	allCompared(t, nodes)
	lose(t, nodes[0], []string{keys[150], keys[299]})
	seen, pages := 0, 0
	var found []string
	for q := (backend.VerifyQuery{Limit: 120}); ; pages++ {
		page := verify(t, nodes[1], q)
		require.LessOrEqual(t, page.Keys, 120)
		seen += page.Keys
		for _, p := range page.Problems {
			found = append(found, p.Key)
		}
		if q.After = page.Next; !page.More {
			break
		}
	}
	require.Equal(t, 301, seen)
	require.Equal(t, 2, pages)
	require.Equal(t, []string{keys[150], keys[299]}, found)
	_, err := nodes[0].Verify(t.Context(), backend.VerifyQuery{Limit: -1})
	require.Equal(t, backend.Invalid, backend.CodeOf(err))
}

// TestVerifyNamesTheSilent: what a member holds that does not answer counts as
// missing, and cannot be mended.
func TestVerifyNamesTheSilent(t *testing.T) {
	nodes := openRing(t, 3)
	put(t, nodes[0], "k", "v")
	put(t, nodes[0], "deleted", "v")
	require.NoError(t, nodes[0].Delete(within(t, limit), "deleted", backend.DeleteOptions{}))
	same(t, nodes, []string{"k", "deleted"})
	require.NoError(t, nodes[1].Close())
	problem := backend.KeyProblem{Key: "k", Missing: []string{"m1"}, Copies: 2, Owners: 3}
	require.Equal(t, &backend.VerifyPage{Keys: 2, Problems: []backend.KeyProblem{problem}, Silent: []string{"m1"}}, verify(t, nodes[2], backend.VerifyQuery{}))
	problem.Error = `"m1" does not answer`
	require.Equal(t, &backend.VerifyPage{Keys: 2, Problems: []backend.KeyProblem{problem}, Silent: []string{"m1"}}, verify(t, nodes[2], backend.VerifyQuery{Repair: true}))
}

// TestVerifyUnderWrites: keys that change all the time are no problem.
func TestVerifyUnderWrites(t *testing.T) {
	nodes := openRing(t, 3)
	keys := numbered("k/", 20)
	fill(t, nodes, keys)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	ctx := within(t, limit)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			err := eachOf(len(keys), func(i int) error {
				_, err := nodes[i%3].Put(ctx, keys[i], []byte("w"), backend.PutOptions{})
				return err
			})
			if err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 3 {
		require.Empty(t, verify(t, nodes[0], backend.VerifyQuery{}).Problems)
	}
	close(stop)
	require.NoError(t, <-stopped)
}

// TestVerifyOfDeletedKeys: a tombstone that some owners have forgotten is no
// problem; one that an owner missed is.
func TestVerifyOfDeletedKeys(t *testing.T) {
	t.Parallel()
	nodes := openRing(t, 3)
	put(t, nodes[0], "k", "v")
	same(t, nodes, []string{"k"})
	allCompared(t, nodes)
	old, _, err := nodes[1].store.Load("k")
	require.NoError(t, err)
	require.NoError(t, nodes[0].Delete(within(t, limit), "k", backend.DeleteOptions{}))
	same(t, nodes, []string{"k"})
	lose(t, nodes[1], []string{"k"})
	require.Equal(t, &backend.VerifyPage{Keys: 1}, verify(t, nodes[0], backend.VerifyQuery{}))
	onDisk(t, nodes[1], []register.Write{{Seq: 1, Key: "k", Cell: old}})
	problem := backend.KeyProblem{Key: "k", Behind: []string{"m1"}, Copies: 2, Owners: 3}
	require.Equal(t, &backend.VerifyPage{Keys: 1, Problems: []backend.KeyProblem{problem}}, verify(t, nodes[0], backend.VerifyQuery{}))
	require.Equal(t, &backend.VerifyPage{Keys: 1, Repaired: 1}, verify(t, nodes[0], backend.VerifyQuery{Repair: true}))
	require.False(t, holds(t, nodes[1], "k").live)
}

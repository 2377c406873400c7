package chord

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// folders has writers put and delete, again and again, the 25 keys of a folder each, in
// one transaction, until the test ends. whole fails unless each folder that is listed
// is whole, and commits returns how long the commits took since it was last called.
func folders(t testing.TB, n *Node, writers int) (whole func(*backend.ListResult) error, commits func() []time.Duration) {
	const files = 25
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	var mu sync.Mutex
	var took []time.Duration
	for w := range writers {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				ops := make([]backend.TxnOp, files)
				for f := range ops {
					ops[f] = backend.TxnOp{Verb: []backend.Verb{backend.VerbSet, backend.VerbDelete}[i%2], Key: fmt.Sprintf("%d/%d", w, f)}
				}
				start := time.Now()
				if _, err := n.Txn(ctx, ops); err != nil && ctx.Err() == nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
			}
		})
	}
	whole = func(res *backend.ListResult) error {
		there := map[string]int{}
		for _, it := range res.Items {
			q := backend.ListQuery{Separator: "/"}
			folder, _ := q.Fold(it.Name)
			there[folder]++
		}
		for folder, n := range there {
			if n != files {
				return fmt.Errorf("%d keys are in %s", n, folder)
			}
		}
		return nil
	}
	commits = func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		was := took
		took = nil
		return was
	}
	return whole, commits
}

// TestListBesideTransactions: listings end, and show no half of a transaction, where no
// instant is without one that begins or ends; and the writers go on.
func TestListBesideTransactions(t *testing.T) {
	nodes := openRing(t, 5)
	whole, commits := folders(t, nodes[0], folderWriters)
	for i := range 12 {
		res, err := nodes[i%2].List(within(t, 3*limit), backend.ListQuery{Values: i%4 < 2})
		require.NoError(t, err)
		require.NoError(t, whole(res))
	}
	eventually(t, func() bool { return len(commits()) > 0 }, "no writer goes on")
}

// BenchmarkListBesideTransactions lists 100 such folders, with values and without. An
// operation is a listing.
func BenchmarkListBesideTransactions(b *testing.B) {
	nodes := openMembers(b, 5, 5, func(_ int, cfg *Config) { cfg.Memory, cfg.DataDir = false, b.TempDir() })
	for _, n := range nodes {
		waitReady(b, n)
	}
	whole, commits := folders(b, nodes[0], 100)
	for _, values := range []bool{false, true} {
		b.Run(fmt.Sprintf("values=%v", values), func(b *testing.B) {
			commits()
			start := time.Now()
			measure(b, func(int) error {
				res, err := nodes[0].List(context.Background(), backend.ListQuery{Values: values})
				if err == nil {
					err = whole(res)
				}
				return err
			})
			if took := commits(); len(took) > 0 {
				slices.Sort(took)
				b.ReportMetric(float64(len(took))/time.Since(start).Seconds(), "txn/s")
				b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "txn-p50-ms")
				b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "txn-max-ms")
			}
		})
	}
}

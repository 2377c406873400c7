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

// BenchmarkListBesideTransactions lists 100 folders, with values and without, while a
// writer each puts and deletes the 25 keys of one in transactions. An operation is a
// listing; a folder that is there is whole.
func BenchmarkListBesideTransactions(b *testing.B) {
	const writers, files = 30, 25
	nodes := openMembers(b, 5, 5, func(_ int, cfg *Config) { cfg.Memory, cfg.DataDir = false, b.TempDir() })
	for _, n := range nodes {
		waitReady(b, n)
	}
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	var commits []time.Duration
	for w := range writers {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				ops := make([]backend.TxnOp, files)
				for f := range ops {
					ops[f] = backend.TxnOp{Verb: []backend.Verb{backend.VerbSet, backend.VerbDelete}[i%2], Key: fmt.Sprintf("%d/%d", w, f)}
				}
				start := time.Now()
				if _, err := nodes[0].Txn(ctx, ops); err != nil && ctx.Err() == nil {
					b.Errorf("writer %d: %v", w, err)
				}
				mu.Lock()
				commits = append(commits, time.Since(start))
				mu.Unlock()
			}
		})
	}
	for _, values := range []bool{false, true} {
		b.Run(fmt.Sprintf("values=%v", values), func(b *testing.B) {
			mu.Lock()
			commits = nil
			mu.Unlock()
			start, conflicts := time.Now(), 0
			measure(b, func(int) error {
				for {
					res, err := nodes[0].List(ctx, backend.ListQuery{Values: values})
					if backend.CodeOf(err) == backend.Conflict {
						conflicts++
						continue
					}
					if err == nil {
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
					}
					return err
				}
			})
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(commits)
			if len(commits) > 0 {
				b.ReportMetric(float64(len(commits))/time.Since(start).Seconds(), "txn/s")
				b.ReportMetric(float64(commits[len(commits)/2].Milliseconds()), "txn-p50-ms")
				b.ReportMetric(float64(commits[len(commits)-1].Milliseconds()), "txn-max-ms")
			}
			b.ReportMetric(float64(conflicts), "conflicts")
		})
	}
	stop()
	wg.Wait()
	require.False(b, b.Failed())
}

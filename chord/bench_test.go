package chord

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// diskRing starts three members on disk.
func diskRing(b *testing.B) []*Node { return diskRingOf(b, 3) }

func diskRingOf(b *testing.B, members int) []*Node {
	nodes := openMembers(b, members, members, func(_ int, cfg *Config) { cfg.Memory, cfg.DataDir = false, b.TempDir() })
	for _, n := range nodes {
		waitReady(b, n)
	}
	return nodes
}

// measure runs f as one caller and reports the median, the 99th percentile and the
// CPU time of an operation, that of all members together.
func measure(b *testing.B, f func(i int) error) {
	b.Helper()
	took := make([]time.Duration, 0, b.N)
	cpu := cpuTime(b)
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		require.NoError(b, f(i))
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(len(took)), "cpu-µs/op")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkGet(b *testing.B) {
	nodes := diskRing(b)
	fill(b, nodes, numbered("k/", 1000))
	ctx := context.Background()
	measure(b, func(i int) error {
		_, err := nodes[0].Get(ctx, fmt.Sprintf("k/%05d", i%1000), backend.GetOptions{})
		return err
	})
}

func BenchmarkPut(b *testing.B) {
	nodes := diskRing(b)
	ctx := context.Background()
	value := make([]byte, 100)
	measure(b, func(i int) error {
		_, err := nodes[0].Put(ctx, fmt.Sprintf("k/%05d", i%1000), value, backend.PutOptions{})
		return err
	})
}

// BenchmarkTxn3 stores three keys in one transaction.
func BenchmarkTxn3(b *testing.B) {
	nodes := diskRing(b)
	ctx := context.Background()
	value := string(make([]byte, 100))
	measure(b, func(i int) error {
		_, err := nodes[0].Txn(ctx, set(value, fmt.Sprintf("a/%05d", i%1000), fmt.Sprintf("b/%05d", i%1000), fmt.Sprintf("c/%05d", i%1000)))
		return err
	})
}

// BenchmarkTxn25 is 32 writers at one of five members, each of which stores
// 25 keys of its own in one transaction after the other: while all members compare
// what they have without a pause, and while none does. Registers change 53 times for
// each transaction: its status three times, and each key twice.
func BenchmarkTxn25(b *testing.B) {
	const writers, keys, changes, rounds = 32, 25, 3 + 2*25, 10
	for _, comparing := range []bool{false, true} {
		b.Run(fmt.Sprintf("comparing=%v", comparing), func(b *testing.B) {
			nodes := diskRingOf(b, 5)
			value := string(make([]byte, 100))
			var next atomic.Int64
			run := func(n int) {
				next.Store(0)
				var wg sync.WaitGroup
				for range writers {
					wg.Go(func() {
						for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
							if comparing {
								compareAt(nodes, time.Now())
							}
							prefix := fmt.Sprintf("load/%02d/%d/", i%writers, i/writers%rounds)
							_, err := nodes[0].Txn(context.Background(), set(value, numbered(prefix, keys)...))
							assert.NoError(b, err)
						}
					})
				}
				wg.Wait()
			}
			compareAt(nodes, time.Now().Add(time.Hour))
			run(rounds * writers) // so that there is something to compare
			cpu := cpuTime(b)
			b.ResetTimer()
			run(b.N)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
			b.ReportMetric(float64((cpuTime(b)-cpu).Microseconds())/float64(b.N*changes), "cpu-µs/change")
		})
	}
}

// compareAt sets when nodes compare with each other next.
func compareAt(nodes []*Node, due time.Time) {
	for _, n := range nodes {
		n.repairs.mu.Lock()
		for _, p := range n.repairs.pairs {
			p.due = due
		}
		n.repairs.mu.Unlock()
		n.repairs.wake()
	}
}

func BenchmarkList1000(b *testing.B) {
	for _, values := range []bool{false, true} {
		b.Run(fmt.Sprintf("values=%v", values), func(b *testing.B) {
			nodes := diskRing(b)
			fill(b, nodes, numbered("k/", 1000))
			measure(b, func(int) error {
				res, err := nodes[0].List(context.Background(), backend.ListQuery{Prefix: "k/", Values: values})
				if err == nil && len(res.Items) != 1000 {
					err = fmt.Errorf("%d items", len(res.Items))
				}
				return err
			})
		})
	}
}

// locked takes a lock through a node and brings its fence into force.
func locked(tb testing.TB, k *Instance, key string) (backend.Lock, backend.Fence) {
	tb.Helper()
	l, err := k.Lock(context.Background(), backend.LockOptions{Key: key})
	require.NoError(tb, err)
	f := backend.FenceOf(l)
	require.NoError(tb, k.Fence(context.Background(), f))
	return l, f
}

// BenchmarkPutFenced is BenchmarkPut with a fence.
func BenchmarkPutFenced(b *testing.B) {
	k := keep(diskRing(b)[0])
	_, f := locked(b, k, "lock")
	ctx := context.Background()
	value := make([]byte, 100)
	measure(b, func(i int) error {
		_, err := k.Put(ctx, fmt.Sprintf("k/%05d", i%1000), value, backend.PutOptions{Fence: f})
		return err
	})
}

// BenchmarkFence brings a fence into force where the holder before has written many
// keys with its own.
func BenchmarkFence(b *testing.B) {
	for _, n := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			k := keep(diskRing(b)[0])
			ctx := context.Background()
			l, f := locked(b, k, "lock")
			require.NoError(b, eachOf(n, func(i int) error {
				_, err := k.Put(ctx, fmt.Sprintf("k/%06d", i), []byte("v"), backend.PutOptions{Fence: f})
				return err
			}))
			measure(b, func(int) error {
				if err := l.Unlock(ctx); err != nil {
					return err
				}
				var err error
				if l, err = k.Lock(ctx, backend.LockOptions{Key: "lock"}); err != nil {
					return err
				}
				return k.Fence(ctx, backend.FenceOf(l))
			})
		})
	}
}

package chord

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

// diskRing starts three members on disk and a key.
func diskRing(b *testing.B) []*Node {
	nodes := openMembers(b, 3, 3, func(_ int, cfg *Config) { cfg.Memory, cfg.DataDir = false, b.TempDir() })
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

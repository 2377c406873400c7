package store

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// cpu returns the user and system time of this process.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCommit has so many writers wait at a time, each for its own write of a
// 64 byte key and a value of 256 bytes, on the disk of the temporary directory.
func BenchmarkCommit(b *testing.B) {
	for _, waiting := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			s := mustOpen(b, Options{Dir: b.TempDir()})
			cell := cellOf(1, 248)
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			var wg sync.WaitGroup
			for w := range waiting {
				wg.Go(func() {
					acked := make(chan error, 1)
					done := func(_ uint64, err error) { acked <- err }
					for i := w; i < b.N; i += waiting {
						key := fmt.Sprintf("%064d", i)
						s.Commit(s.Shard(key), []register.Write{{Seq: uint64(i), Key: key, Cell: cell}}, done)
						if err := <-acked; err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	s := mustOpen(b, Options{Dir: b.TempDir()})
	const keys = 100_000
	var acks sync.WaitGroup
	for i := range keys {
		acks.Add(1)
		s.Commit(0, []register.Write{{Key: fmt.Sprintf("%064d", i), Cell: cellOf(uint64(i), 248)}}, func(uint64, error) { acks.Done() })
	}
	acks.Wait()
	require.NoError(b, s.db.Flush())
	for _, bc := range []struct{ name, format string }{{"hit", "%064d"}, {"miss", "%063dx"}} {
		names := make([]string, keys)
		for i := range names {
			names[i] = fmt.Sprintf(bc.format, i*7919%keys)
		}
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if _, ok, err := s.Load(names[i%keys]); err != nil || ok != (bc.name == "hit") {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkScan1000(b *testing.B) {
	for _, values := range []bool{false, true} {
		b.Run(fmt.Sprintf("values=%v", values), func(b *testing.B) {
			s := mustOpen(b, Options{Memory: true})
			for i := range 1000 {
				put(b, s, fmt.Sprintf("%064d", i), cellOf(uint64(i), 248))
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				res, err := s.Scan(context.Background(), ScanOptions{Values: values})
				if err != nil || len(res.Cells) != 1000 {
					b.Fatal(err)
				}
			}
		})
	}
}

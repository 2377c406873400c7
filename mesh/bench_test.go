package mesh

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// cpuTime returns user and system time of the process.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCall is a round trip with 300 bytes each way over loopback, both ends
// in this process. A round trip is two messages.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			x, y := pair(b, testConfig("x"), testConfig("y"), func(m *Mesh) {
				m.HandleCall(1, func(_ context.Context, _ ring.Node, body Decoder) (any, error) {
					return body.Bytes()
				})
			})
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			body := make([]byte, 300)
			var left atomic.Int64
			left.Store(int64(b.N))
			before, cpu := x.Stats(), cpuTime(b)
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					var resp []byte
					for left.Add(-1) >= 0 {
						if err := x.Call(ctx, y.node, 1, body, &resp); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			after := x.Stats()
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(2*b.N), "cpu-ns/msg")
			b.ReportMetric(float64(after.FramesSent-before.FramesSent)/float64(after.Writes-before.Writes), "frames/write")
		})
	}
}

// BenchmarkEcho is the same with sends in both directions, as the register
// protocol uses the mesh: no goroutine and no context a message.
func BenchmarkEcho(b *testing.B) {
	for _, window := range []int{1, 64} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			answers := make(chan struct{}, window)
			cx, cy := testConfig("x"), testConfig("y")
			y := newMesh(b, cy, func(m *Mesh) {
				m.HandleSend(1, func(from ring.Node, body []byte) {
					if err := m.Send(from, 1, body); err != nil {
						b.Error(err)
					}
				})
			})
			x := newMesh(b, cx, func(m *Mesh) {
				m.HandleSend(1, func(ring.Node, []byte) { answers <- struct{}{} })
			})
			x.HandlePeers([]Peer{y.self()})
			eventually(b, func() bool { return x.Connected(y.node) && y.Connected(x.node) }, "connected")
			body := make([]byte, 300)
			cpu := cpuTime(b)
			b.ReportAllocs()
			b.ResetTimer()
			sent := 0
			for ; sent < min(window, b.N); sent++ {
				if err := x.Send(y.node, 1, body); err != nil {
					b.Fatal(err)
				}
			}
			for range b.N {
				<-answers
				if sent < b.N {
					sent++
					if err := x.Send(y.node, 1, body); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(2*b.N), "cpu-ns/msg")
		})
	}
}

// BenchmarkSend is one-way throughput with 300 bytes.
func BenchmarkSend(b *testing.B) {
	var got atomic.Int64
	done := make(chan struct{}, 1)
	x, y := pair(b, testConfig("x"), testConfig("y"), func(m *Mesh) {
		m.HandleSend(1, func(ring.Node, []byte) {
			if got.Add(1) == int64(b.N) {
				done <- struct{}{}
			}
		})
	})
	body := make([]byte, 300)
	conn := x.RoutingTable()[y.cfg.ID]
	cpu, before := cpuTime(b), x.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for conn.Queued() > 1<<20 {
			<-time.After(50 * time.Microsecond)
		}
		if err := x.Send(y.node, 1, body); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.StopTimer()
	after := x.Stats()
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/msg")
	b.ReportMetric(float64(after.FramesSent-before.FramesSent)/float64(after.Writes-before.Writes), "frames/write")
}

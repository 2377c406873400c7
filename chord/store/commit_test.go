package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metrics "github.com/armon/go-metrics"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// gate holds back the syncs of the WAL while it is shut.
type gate struct {
	mu    sync.Mutex
	shut  chan struct{} // nil while open
	held  chan struct{} // a sync waits
	syncs atomic.Int64
}

func newGate(under vfs.FS) (*gate, vfs.FS) {
	g := &gate{held: make(chan struct{}, 100)}
	return g, errorfs.Wrap(under, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if isSync(op) && strings.HasSuffix(op.Path, ".log") {
			g.syncs.Add(1)
			g.mu.Lock()
			shut := g.shut
			g.mu.Unlock()
			if shut != nil {
				g.held <- struct{}{}
				<-shut
			}
		}
		return nil
	}))
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

func isSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
}

func TestNothingIsShownBeforeItsSync(t *testing.T) {
	g, fs := newGate(vfs.NewMem())
	s := mustOpen(t, small(fs))
	put(t, s, "a", cellOf(1, recentCell)) // too large to be remembered
	_, since, ok := s.Changes("", "", s.changes.now())
	require.True(t, ok)

	g.close()
	acked := make(chan error, 1)
	s.Commit(s.Shard("a"), []register.Write{{Seq: 2, Key: "a", Cell: cellOf(2, recentCell)}, {Seq: 3, Mark: &register.Mark{HighWater: 8}}},
		func(_ uint64, err error) { acked <- err })
	wait(t, g.held)

	// Pebble makes the write readable before its sync; this is why the rest waits.
	require.Eventually(t, func() bool {
		c, _, err := s.Load("a")
		return err == nil && numberOf(c) == 2
	}, deadline, 1000)
	scanned := make(chan ScanResult, 1)
	go func() {
		res, err := s.Scan(context.Background(), ScanOptions{Values: true})
		if err != nil {
			t.Error(err)
		}
		scanned <- res
	}()
	barrier := make(chan error, 1)
	s.Barrier(func(err error) { barrier <- err })
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Scan(cancelled, ScanOptions{})
	require.ErrorIs(t, err, context.Canceled)
	keys, _, ok := s.Changes("", "", since)
	require.True(t, ok)
	require.Empty(t, keys)
	require.Zero(t, s.Mark(s.Shard("a")))
	require.Empty(t, acked)
	require.Empty(t, scanned)
	require.Empty(t, barrier)

	g.open()
	require.NoError(t, wait(t, acked))
	require.NoError(t, wait(t, barrier))
	require.EqualValues(t, 2, numberOf(wait(t, scanned).Cells[0].Cell))
	keys, _, ok = s.Changes("", "", since)
	require.True(t, ok)
	require.Equal(t, []string{"a"}, keys)
	require.EqualValues(t, 8, s.Mark(s.Shard("a")).HighWater)
}

func TestGroupCommit(t *testing.T) {
	g, fs := newGate(vfs.NewMem())
	opts := small(fs)
	sink := metrics.NewInmemSink(time.Hour, 2*time.Hour)
	conf := metrics.DefaultConfig("t")
	conf.EnableHostname, conf.EnableRuntimeMetrics = false, false
	opts.Metrics, _ = metrics.New(conf, sink)
	defer opts.Metrics.Shutdown()
	s := mustOpen(t, opts)

	const waiting = 200
	g.close()
	s.Commit(0, []register.Write{{Key: "first"}}, func(uint64, error) {})
	wait(t, g.held)
	before := g.syncs.Load()
	var mu sync.Mutex
	order := map[int][]uint64{}
	var acks sync.WaitGroup
	acks.Add(waiting)
	for i := range waiting {
		shard := i % 5
		s.Commit(shard, []register.Write{{Seq: uint64(i), Key: fmt.Sprint(i), Cell: cellOf(uint64(i), 10)}}, func(upTo uint64, err error) {
			defer acks.Done()
			mu.Lock()
			defer mu.Unlock()
			order[shard] = append(order[shard], upTo)
			if err != nil {
				t.Error(err)
			}
		})
	}
	g.open()
	acks.Wait()
	require.EqualValues(t, 1, g.syncs.Load()-before, "all that waits shares a sync")
	for shard, got := range order {
		for i, seq := range got {
			require.EqualValues(t, shard+5*i, seq)
		}
	}
	largest := 0.0 // over an hour's turn too
	for _, interval := range sink.Data() {
		if sample, ok := interval.Samples["t.store.commit.writes"]; ok {
			largest = max(largest, sample.Max)
		}
	}
	require.Equal(t, float64(waiting), largest)
}

func TestBatchesAndQueueAreBounded(t *testing.T) {
	g, fs := newGate(vfs.NewMem())
	opts := small(fs)
	opts.MaxBatchBytes, opts.MaxQueueBytes = 10_000, 30_000
	s := mustOpen(t, opts)
	g.close()
	s.Commit(0, []register.Write{{Key: "first"}}, func(uint64, error) {})
	wait(t, g.held)
	before := g.syncs.Load()
	require.False(t, s.Overloaded())
	var acks sync.WaitGroup
	for i := range 8 { // 4 batches of 2
		acks.Add(1)
		s.Commit(0, []register.Write{{Seq: uint64(i), Key: "k", Cell: cellOf(uint64(i), 4500)}}, func(uint64, error) { acks.Done() })
	}
	acks.Add(1)
	s.Commit(0, []register.Write{{Key: "large", Cell: cellOf(9, 50_000)}}, func(uint64, error) { acks.Done() })
	require.True(t, s.Overloaded())
	g.open()
	acks.Wait()
	require.EqualValues(t, 5, g.syncs.Load()-before)
	require.False(t, s.Overloaded())
}

func TestCloseCommitsWhatWaits(t *testing.T) {
	mem := vfs.NewMem()
	g, fs := newGate(mem)
	s := mustOpen(t, small(fs))
	g.close()
	acked := make(chan error, 10)
	s.Commit(0, []register.Write{{Key: "first"}}, func(_ uint64, err error) { acked <- err })
	wait(t, g.held)
	for i := range 9 {
		s.Commit(0, []register.Write{{Key: fmt.Sprint(i)}}, func(_ uint64, err error) { acked <- err })
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	require.Empty(t, closed)
	g.open()
	require.NoError(t, wait(t, closed))
	require.Len(t, acked, 10)
	for range 10 {
		require.NoError(t, <-acked)
	}
	s = mustOpen(t, small(mem))
	res, err := s.Scan(context.Background(), ScanOptions{})
	require.NoError(t, err)
	require.Len(t, res.Cells, 10)
}

func TestWrongShardIsABug(t *testing.T) {
	s := mustOpen(t, Options{Memory: true})
	require.Panics(t, func() { s.Commit(16, nil, nil) })
}

package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// TestReclaim: the disk gets back what dropped cells took, and keeps the others.
func TestReclaim(t *testing.T) {
	s, err := Open(Options{Dir: t.TempDir()})
	require.NoError(t, err)
	defer s.Close()
	commit := func(writes []register.Write) {
		done := make(chan error, 1)
		s.Commit(0, writes, func(_ uint64, err error) { done <- err })
		require.NoError(t, <-done)
	}
	const keys = 40_000
	var seq uint64
	for part := range 40 {
		var puts []register.Write
		for i := range keys / 40 {
			seq++
			data := make([]byte, 1024)
			copy(data, fmt.Sprint("value of ", seq)) // compresses, but not to nothing
			for j := 20; j < len(data); j++ {
				data[j] = byte(uint64(j) * seq * 2654435761 >> 13)
			}
			puts = append(puts, register.Write{Seq: seq, Key: fmt.Sprintf("k/%02d/%04d", part, i), Cell: register.Cell{
				Accepted: register.Ballot{Time: seq, Node: 1}, Value: register.Value{Live: true, Data: data, Lineage: []register.Past{{Write: register.Ballot{Time: seq, Node: 1}}}},
			}})
		}
		commit(puts)
	}
	require.NoError(t, s.Reclaim(context.Background()))
	full, err := s.Stats()
	require.NoError(t, err)
	for part := range 39 {
		var drops []register.Write
		for i := range keys / 40 {
			seq++
			drops = append(drops, register.Write{Seq: seq, Key: fmt.Sprintf("k/%02d/%04d", part, i), Drop: true})
		}
		commit(drops)
	}
	require.NoError(t, s.Reclaim(context.Background()))
	var left Stats
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); ; { // old tables are removed in the background
		left, err = s.Stats()
		require.NoError(t, err)
		if left.DiskBytes*2 < full.DiskBytes { // the rest is a log kept for reuse
			break
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%d of %d bytes are left", left.DiskBytes, full.DiskBytes)
		}
	}
	require.InDelta(t, keys/40, left.Cells, 5) // and rows that are no cells
	_, ok, err := s.Load("k/39/0999")
	require.NoError(t, err)
	require.True(t, ok)
}

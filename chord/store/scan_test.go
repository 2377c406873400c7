package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// TestScanAndChangesAgainstAModel runs random writes, scans, questions for
// changes and reopenings against a map and a list.
func TestScanAndChangesAgainstAModel(t *testing.T) {
	key := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 'b', 0xff}), 0, 3), func(b []byte) string { return string(b) })
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewMem()
		s, err := Open(small(fs))
		require.NoError(rt, err)
		defer func() { _ = s.Close() }()
		cells := map[string]uint64{}
		var log []string // every change of this boot
		start := s.changes.now()
		n := uint64(0)
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				var writes []register.Write
				for _, k := range rapid.SliceOfN(key, 1, 5).Draw(rt, "keys") {
					n++
					writes = append(writes, register.Write{Seq: n, Key: k, Cell: cellOf(n, 0)})
					cells[k] = n
					log = append(log, k)
				}
				require.NoError(rt, commit(t, s, 0, writes...))
			},
			"scan": func(rt *rapid.T) {
				opts := ScanOptions{
					Prefix: key.Draw(rt, "prefix"), After: key.Draw(rt, "after"),
					Limit: rapid.IntRange(1, 5).Draw(rt, "limit"), Values: true,
				}
				var got, want, keys []string
				for k, v := range cells {
					if strings.HasPrefix(k, opts.Prefix) && k > opts.After && (opts.Prefix != "" || k != "" && k[0] != 0) {
						want = append(want, fmt.Sprint(k, v))
					}
				}
				for more := true; more; {
					res, err := s.Scan(context.Background(), opts)
					require.NoError(rt, err)
					require.LessOrEqual(rt, len(res.Cells), opts.Limit)
					require.EqualValues(rt, start+uint64(len(log)), res.Counter)
					for _, c := range res.Cells {
						got = append(got, fmt.Sprint(c.Key, numberOf(c.Cell)))
						keys = append(keys, c.Key)
						opts.After = c.Key
					}
					more = res.More
				}
				require.ElementsMatch(rt, want, got)
				require.True(rt, slices.IsSorted(keys))
			},
			"changes": func(rt *rapid.T) {
				since := rapid.IntRange(0, len(log)).Draw(rt, "since")
				prefix, after := key.Draw(rt, "prefix"), key.Draw(rt, "after")
				var want []string
				for _, k := range log[since:] {
					if strings.HasPrefix(k, prefix) && k > after && (prefix != "" || k != "" && k[0] != 0) {
						want = append(want, k)
					}
				}
				slices.Sort(want)
				got, counter, ok := s.Changes(prefix, after, start+uint64(since))
				require.True(rt, ok)
				require.EqualValues(rt, start+uint64(len(log)), counter)
				require.Equal(rt, slices.Compact(want), got)
			},
			"reopen": func(rt *rapid.T) {
				old := s.changes.now()
				require.NoError(rt, s.Close())
				s, err = Open(small(fs))
				require.NoError(rt, err)
				_, _, ok := s.Changes("", "", old)
				require.False(rt, ok, "a counter of an earlier boot")
				log, start = nil, s.changes.now()
			},
		})
	})
}

func TestScanPagesByBytes(t *testing.T) {
	s := mustOpen(t, Options{Memory: true})
	for i := range 10 {
		put(t, s, fmt.Sprint(i), cellOf(uint64(i), 1000))
	}
	res, err := s.Scan(context.Background(), ScanOptions{Bytes: 3500, Values: true})
	require.NoError(t, err)
	require.Len(t, res.Cells, 3)
	require.True(t, res.More)
	res, err = s.Scan(context.Background(), ScanOptions{Bytes: 1, After: "2", Values: true})
	require.NoError(t, err)
	require.Len(t, res.Cells, 1, "a page has a cell at least")
	require.Equal(t, "3", res.Cells[0].Key)
	res, err = s.Scan(context.Background(), ScanOptions{Bytes: 3500})
	require.NoError(t, err)
	require.Len(t, res.Cells, 10, "data that is not asked for does not count")
	require.False(t, res.More)
	c := res.Cells[4].Cell
	require.Nil(t, c.Value.Data)
	require.True(t, c.Value.Live)
	require.EqualValues(t, 5, c.Value.Index())
	require.Len(t, c.Value.Lineage, 2)
}

func TestChangesAreBounded(t *testing.T) {
	s := &Store{}
	s.changes.init(3)
	start := s.changes.now()
	require.EqualValues(t, uint64(3)<<40, start)
	for i := range MaxChanges + 10 {
		s.changes.push(fmt.Sprintf("%06d", i))
	}
	_, counter, ok := s.Changes("", "", start+9)
	require.False(t, ok)
	require.EqualValues(t, start+MaxChanges+10, counter)
	keys, _, ok := s.Changes("", "", start+10)
	require.True(t, ok)
	require.Len(t, keys, MaxChanges)
	require.Equal(t, "000010", keys[0])
	keys, _, ok = s.Changes("", "", counter)
	require.True(t, ok)
	require.Empty(t, keys)
	_, _, ok = s.Changes("", "", counter+1)
	require.False(t, ok, "a counter that was never given")

	long := strings.Repeat("k", 2048)
	for range MaxChanges {
		s.changes.push(long)
		require.LessOrEqual(t, s.changes.bytes, MaxChangesBytes)
	}
	require.EqualValues(t, MaxChangesBytes/2048, s.changes.counter-s.changes.oldest+1)
	s.changes.push(strings.Repeat("k", MaxChangesBytes+1)) // alone, if need be
	require.Equal(t, s.changes.oldest, s.changes.counter)
}

// TestIntentsInScanAndLoad: the data of an intent is treated as that of its value.
func TestIntentsInScanAndLoad(t *testing.T) {
	s, err := Open(small(vfs.NewMem()))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	cell := cellOf(1, 0)
	cell.Value.Intent = &register.Intent{Txn: register.TxnID{Start: register.Ballot{Time: 1, Node: 1}}, New: register.Content{Live: true, Data: []byte("new")}}
	require.NoError(t, commit(t, s, 0, register.Write{Seq: 1, Key: "k", Cell: cell}))
	loaded, ok, err := s.Load("k")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, cell, loaded)
	for values, want := range map[bool]int{true: cell.Value.Size(), false: 0} {
		page, err := s.Scan(t.Context(), ScanOptions{Values: values})
		require.NoError(t, err)
		require.Len(t, page.Cells, 1)
		require.Equal(t, want, page.Cells[0].Cell.Value.Size())
		require.NotNil(t, page.Cells[0].Cell.Value.Intent)
	}
}

// TestChanged: whoever waits is woken by the next change, and not before.
func TestChanged(t *testing.T) {
	s := mustOpen(t, small(vfs.NewMem()))
	before, changed := s.Counter(), s.Changed()
	select {
	case <-changed:
		t.Fatal("nothing has changed")
	default:
	}
	put(t, s, "k", cellOf(1, 1))
	wait(t, changed)
	require.Equal(t, before+1, s.Counter())
	keys, _, ok := s.Changes("", "", before)
	require.True(t, ok)
	require.Equal(t, []string{"k"}, keys)
}

package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// TestLoadIsTheSameFromMemory: what is remembered is what was written last, deletions
// and keys that are not there included.
func TestLoadIsTheSameFromMemory(t *testing.T) {
	s := mustOpen(t, small(vfs.NewMem()))
	remembered := func(key string) bool {
		l, _ := s.recent.find(key)
		return l != nil
	}
	load := func(key string) (n uint64, ok bool) {
		c, ok, err := s.Load(key)
		require.NoError(t, err)
		if ok {
			n = numberOf(c)
		}
		return n, ok
	}
	require.False(t, remembered("a"))
	_, ok := load("a")
	require.False(t, ok)
	require.True(t, remembered("a"), "that it is not there")
	data := cellOf(1, 10)
	put(t, s, "a", data)
	data.Value.Data[7] = 9 // the writer's memory is its own again
	n, ok := load("a")
	require.True(t, ok)
	require.EqualValues(t, 1, n)
	put(t, s, "a", cellOf(2, recentCell))
	require.False(t, remembered("a"), "too large")
	n, _ = load("a")
	require.EqualValues(t, 2, n)
	require.False(t, remembered("a"))
	put(t, s, "a", cellOf(3, 0))
	require.NoError(t, commit(t, s, s.Shard("a"), register.Write{Seq: 1, Key: "a", Cell: cellOf(4, 0)}, register.Write{Seq: 2, Key: "a", Drop: true}))
	require.True(t, remembered("a"))
	_, ok = load("a")
	require.False(t, ok)

	for i := range 10_000 {
		put(t, s, fmt.Sprint("k", i%6000), cellOf(uint64(i), 100))
		if i%3 == 0 {
			n, _ = load(fmt.Sprint("k", i%6000))
			require.EqualValues(t, i, n)
		}
	}
	require.False(t, remembered("a"))
	for i := range 6000 {
		n, _ = load(fmt.Sprint("k", i))
		require.EqualValues(t, i+(9999-i)/6000*6000, n)
	}
	for i := range s.recent.parts {
		p := &s.recent.parts[i]
		for _, half := range []map[string]*recentLoad{p.now, p.before} {
			bytes := 0
			for key, l := range half {
				bytes += recentOverhead + len(key) + l.cell.Value.Size()
			}
			require.LessOrEqual(t, bytes, recentBytes/recentParts)
		}
	}
}

// TestReadsDoNotHideWrites: what was read before a write is not remembered after it.
func TestReadsDoNotHideWrites(t *testing.T) {
	var r recent
	read := recentLoad{cellOf(1, 0), true}
	_, writes := r.find("a")
	r.wrote([]request{{writes: []register.Write{{Seq: 1, Key: "a", Cell: cellOf(2, 0)}, {Seq: 2, Mark: &register.Mark{}}}}})
	r.learn("a", read, writes)
	l, writes := r.find("a")
	require.EqualValues(t, 2, numberOf(l.cell))
	r.learn("a", read, writes)
	l, _ = r.find("a")
	require.Equal(t, &read, l)
}

package store

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

// flipCells is how many cells the tests of a damaged log write: about 200 KB, so
// that they lie in one log of several blocks.
const flipCells = 400

func writeFlipCells(t *testing.T, s *Store) {
	t.Helper()
	for i := range uint64(flipCells) {
		put(t, s, fmt.Sprintf("key%d", i), cellOf(i, 400))
	}
}

// flip changes a bit of the byte at a part of the largest log.
func flip(t *testing.T, fs vfs.FS, percent int64) {
	t.Helper()
	names, err := fs.List("data/db")
	require.NoError(t, err)
	var path string
	size := int64(-1)
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			info, err := fs.Stat("data/db/" + name)
			require.NoError(t, err)
			if info.Size() > size {
				path, size = "data/db/"+name, info.Size()
			}
		}
	}
	require.Positive(t, size)
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	b, at := make([]byte, 1), size*percent/100
	_, err = f.ReadAt(b, at)
	require.NoError(t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b, at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// TestFlippedLog flips a bit of the log that a crash leaves behind, in a member's
// first life and in its second, in blocks with others behind them and in the last
// one. Open must say so, or it would lose what was acknowledged without a word.
func TestFlippedLog(t *testing.T) {
	for life := 1; life <= 2; life++ {
		mem := vfs.NewCrashableMem()
		opts := Options{Dir: "data", FS: mem}
		s := mustOpen(t, opts)
		if life == 2 {
			require.NoError(t, s.Close())
			s = mustOpen(t, opts)
		}
		writeFlipCells(t, s)
		for _, percent := range []int64{5, 30, 70, 95, 99} {
			t.Run(fmt.Sprintf("life %d, at %d%%", life, percent), func(t *testing.T) {
				after := mem.CrashClone(vfs.CrashCloneCfg{})
				flip(t, after, percent)
				_, err := Open(Options{Dir: "data", FS: after})
				require.ErrorContains(t, err, "the data is damaged; move it away and start with an empty directory as a new member")
			})
		}
	}
}

// TestCleanStopEmptiesTheLog: the last writes in a log can be lost to a flipped bit;
// so a clean stop leaves nothing in it.
func TestCleanStopEmptiesTheLog(t *testing.T) {
	for _, percent := range []int64{0, 5, 30, 70, 95} {
		mem := vfs.NewMem()
		opts := Options{Dir: "data", FS: mem}
		s := mustOpen(t, opts)
		writeFlipCells(t, s)
		require.NoError(t, s.Close())
		flip(t, mem, percent)
		s = mustOpen(t, opts)
		for i := range uint64(flipCells) {
			c, ok, err := s.Load(fmt.Sprintf("key%d", i))
			require.NoError(t, err)
			require.True(t, ok, "cell %d, flipped at %d%%", i, percent)
			require.Equal(t, i, numberOf(c))
		}
		require.NoError(t, s.Close())
	}
}

// TestCloseDoesNotWaitForCompactions closes a store whose first level is as full as
// it may be, or nearly so, while nothing compacts it: a flush would wait for ever.
func TestCloseDoesNotWaitForCompactions(t *testing.T) {
	for _, tables := range []int{stopWritesL0 - 2, stopWritesL0 - 1, stopWritesL0} {
		mem := vfs.NewMem()
		opts := small(mem)
		opts.quiet = true
		s := mustOpen(t, opts)
		for i := range tables {
			put(t, s, "key", cellOf(uint64(i), 0))
			require.NoError(t, s.db.Flush())
		}
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		require.NoError(t, wait(t, closed))
		c, ok, err := mustOpen(t, small(mem)).Load("key")
		require.NoError(t, err)
		require.True(t, ok)
		require.EqualValues(t, tables-1, numberOf(c))
	}
}

// TestStopWithFullDisk: all is in the log, and so the stop is a clean one.
func TestStopWithFullDisk(t *testing.T) {
	for _, hit := range []func(errorfs.Op) bool{
		on(errorfs.OpCreate, ".sst"),
		on(errorfs.OpFileWrite, ".sst"),
		on(errorfs.OpFileWrite, "MANIFEST"),
		on(errorfs.OpCreate, ".log"),
		func(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite },
	} {
		mem := vfs.NewMem()
		f := &fault{hit: hit, err: syscall.ENOSPC}
		opts := Options{Dir: "data", FS: f.wrap(mem)}
		var log bytes.Buffer
		opts.Logger = hclog.New(&hclog.LoggerOptions{Output: &log})
		s := mustOpen(t, opts)
		writeFlipCells(t, s)
		f.on.Store(true)
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		require.NoError(t, wait(t, closed))
		require.Positive(t, f.hits.Load())
		require.Contains(t, log.String(), "nothing is lost, it stays in the log")
		s = mustOpen(t, Options{Dir: "data", FS: mem})
		res, err := s.Scan(context.Background(), ScanOptions{Limit: 2 * flipCells})
		require.NoError(t, err)
		require.Len(t, res.Cells, flipCells)
	}
}

// TestEveryFlipIsTold flips each bit that a crash leaves in a log of less than a
// block. Either the start is refused, or nothing is missing but the last writes, after
// which nothing was written that would tell.
func TestEveryFlipIsTold(t *testing.T) {
	mem := vfs.NewCrashableMem()
	s := mustOpen(t, Options{Dir: "data", FS: mem})
	const cells, untold = 30, 2
	for i := range uint64(cells) {
		put(t, s, fmt.Sprintf("key%02d", i), cellOf(i, 50))
	}
	after := mem.CrashClone(vfs.CrashCloneCfg{})
	name, text := newestLog(t, after)
	require.Less(t, len(text), logBlock)
	number, err := strconv.ParseUint(strings.TrimSuffix(name, logSuffix), 10, 32)
	require.NoError(t, err)
	var chunks []int // where they begin
	for at := 0; at < len(text); {
		length, _, ok := chunk(text[at:], uint32(number))
		require.True(t, ok)
		chunks = append(chunks, at)
		at += chunkHeader + length
	}
	require.Len(t, chunks, cells+1, "the identity, and a batch for each cell")
	require.Equal(t, -1, damaged(text, 0, uint32(number)))
	last := chunks[len(chunks)-untold]
	for bit := range 8 * len(text) {
		text[bit/8] ^= 1 << (bit % 8)
		if gap := damaged(text, 0, uint32(number)); bit/8 < last {
			require.GreaterOrEqual(t, gap, 0, "bit %d of %d", bit, 8*len(text))
			require.LessOrEqual(t, gap, bit/8)
			require.Contains(t, chunks, gap)
		}
		text[bit/8] ^= 1 << (bit % 8)
	}
	// A write that was cut short is no damage, wherever.
	for size := range text {
		require.Equal(t, -1, damaged(text[:size], 0, uint32(number)))
		cut := append(bytes.Clone(text[:size]), make([]byte, len(text)-size)...)
		require.Equal(t, -1, damaged(cut, 0, uint32(number)))
	}
	require.Equal(t, -1, damaged(text, 0, uint32(number)+1), "a log that is used again ends with what it held before")
}

// newestLog returns the newest log's name and content.
func newestLog(t *testing.T, fs vfs.FS) (name string, text []byte) {
	t.Helper()
	names, err := fs.List("data/db")
	require.NoError(t, err)
	for _, n := range names {
		if strings.HasSuffix(n, logSuffix) {
			name = max(name, n)
		}
	}
	text, err = readFile(fs, "data/db/"+name, 1<<30)
	require.NoError(t, err)
	return name, text
}

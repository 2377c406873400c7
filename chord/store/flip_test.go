package store

import (
	"bytes"
	"context"
	"fmt"
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
// first life and in its second. Pebble takes damage for the end of the log unless
// something in a later block says how far it was synced. It must say so from the
// very first log on, or Open would lose what was acknowledged without a word.
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
		for _, percent := range []int64{5, 30, 70} {
			t.Run(fmt.Sprintf("life %d, at %d%%", life, percent), func(t *testing.T) {
				after := mem.CrashClone(vfs.CrashCloneCfg{})
				flip(t, after, percent)
				_, err := Open(Options{Dir: "data", FS: after})
				require.ErrorContains(t, err, "the data is damaged; move it away and start with an empty directory as a new member")
			})
		}
	}
}

// TestCleanStopEmptiesTheLog: what a log of one block holds can be lost to a
// flipped bit; so a clean stop leaves nothing in it.
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

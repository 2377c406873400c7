package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// fault is a disk that fails on some operations once it is on.
type fault struct {
	on   atomic.Bool
	hits atomic.Int64
	hit  func(errorfs.Op) bool
	err  error
}

func (f *fault) wrap(under vfs.FS) vfs.FS {
	return errorfs.Wrap(under, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if f.on.Load() && f.hit(op) {
			f.hits.Add(1)
			return f.err
		}
		return nil
	}))
}

func on(kind errorfs.OpKind, part string) func(errorfs.Op) bool {
	return func(op errorfs.Op) bool { return op.Kind == kind && strings.Contains(op.Path, part) }
}

func onSync(part string) func(errorfs.Op) bool {
	return func(op errorfs.Op) bool { return isSync(op) && strings.Contains(op.Path, part) }
}

// TestDiskFailures lets each kind of operation fail while the store works. Every
// time it must fail for good, say why, tell OnFail once, acknowledge nothing
// afterwards, close cleanly, and leave a disk that holds all that was
// acknowledged.
func TestDiskFailures(t *testing.T) {
	for _, tc := range []struct {
		name string
		hit  func(errorfs.Op) bool
		err  error
	}{
		{"write the log", on(errorfs.OpFileWrite, ".log"), syscall.EIO},
		{"write the log, disk full", on(errorfs.OpFileWrite, ".log"), syscall.ENOSPC},
		{"sync the log", onSync(".log"), syscall.EIO},
		{"create a log", on(errorfs.OpCreate, ".log"), syscall.EMFILE},
		{"reuse a log", on(errorfs.OpReuseForWrite, ".log"), syscall.EIO},
		{"create a table", on(errorfs.OpCreate, ".sst"), syscall.ENOSPC},
		{"write a table", on(errorfs.OpFileWrite, ".sst"), syscall.ENOSPC},
		{"sync a table", onSync(".sst"), syscall.EIO},
		{"open a table", on(errorfs.OpOpen, ".sst"), syscall.EIO},
		{"read a table", on(errorfs.OpFileReadAt, ".sst"), syscall.EIO},
		{"remove a table", on(errorfs.OpRemove, ".sst"), syscall.EIO},
		{"write the manifest", on(errorfs.OpFileWrite, "MANIFEST"), syscall.ENOSPC},
		{"sync the manifest", onSync("MANIFEST"), syscall.EIO},
		{"sync the directory", onSync("data/db"), syscall.EIO},
		{"anything that writes", func(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite }, syscall.EROFS},
	} {
		t.Run(tc.name, func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			f := &fault{hit: tc.hit, err: tc.err}
			opts := small(f.wrap(mem))
			w := newWitness()
			require.NoError(t, w.work(opts, rand.New(rand.NewPCG(1, 1)), 100))
			told := make(chan error, 10)
			opts.OnFail = func(err error) { told <- err }
			f.on.Store(false)
			failed := false
			for seed := range uint64(50) {
				opts := opts
				opened, err := Open(opts)
				require.NoError(t, err)
				f.on.Store(true)
				err = w.workOn(opened, rand.New(rand.NewPCG(2, seed)), 100)
				f.on.Store(false)
				if err != nil {
					failed = true
					require.ErrorIs(t, err, ErrFailed)
					require.ErrorIs(t, err, tc.err)
					require.ErrorIs(t, opened.Failed(), tc.err)
					break
				}
			}
			require.True(t, failed, "the fault was met %d times", f.hits.Load())
			require.LessOrEqual(t, len(told), 1)
			if len(told) == 1 {
				require.ErrorIs(t, <-told, tc.err)
			}
			require.NoError(t, w.check(mem.CrashClone(vfs.CrashCloneCfg{}), w.snapshot()))
			require.NoError(t, w.check(mem, w.snapshot()))
		})
	}
}

// TestFailedStore says what each method does after a failure.
func TestFailedStore(t *testing.T) {
	f := &fault{hit: onSync(".log"), err: syscall.EIO}
	opts := small(f.wrap(vfs.NewMem()))
	told := make(chan error, 10)
	opts.OnFail = func(err error) { told <- err }
	s := mustOpen(t, opts)
	put(t, s, "a", cellOf(1, 0))
	require.NoError(t, s.Failed())
	before := s.changes.now()

	f.on.Store(true)
	write := register.Write{Seq: 2, Key: "a", Cell: cellOf(2, 0)}
	err := commit(t, s, 1, write, register.Write{Seq: 3, Mark: &register.Mark{HighWater: 7}})
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, err, ErrFailed)
	require.ErrorContains(t, err, "sync data/db/")
	require.Equal(t, err, wait(t, told))
	require.Equal(t, err, s.Failed())

	f.on.Store(false) // a disk that comes back is not believed
	require.ErrorIs(t, commit(t, s, 1, write), ErrFailed)
	got := make(chan error, 1)
	s.Barrier(func(err error) { got <- err })
	require.ErrorIs(t, wait(t, got), ErrFailed)
	_, _, err = s.Load("a")
	require.ErrorIs(t, err, ErrFailed)
	_, err = s.Scan(context.Background(), ScanOptions{})
	require.ErrorIs(t, err, ErrFailed)
	_, err = s.Stats()
	require.ErrorIs(t, err, ErrFailed)
	require.ErrorIs(t, s.Install(configuration(1, 1)), ErrFailed)
	_, ok := s.Configuration()
	require.False(t, ok)
	require.Zero(t, s.Mark(1))
	require.Equal(t, before, s.changes.now())
	require.ErrorIs(t, s.Close(), ErrFailed)
	require.Empty(t, told)
}

// TestDamagedCell changes a byte of a table under the store.
func TestDamagedCell(t *testing.T) {
	mem := vfs.NewMem()
	s := mustOpen(t, small(mem))
	for i := range 100 {
		put(t, s, fmt.Sprint(i), cellOf(uint64(i), 1000))
	}
	require.NoError(t, s.db.Flush())
	require.NoError(t, s.Close())
	names, err := mem.List("data/db")
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			f, err := mem.OpenReadWrite("data/db/"+name, vfs.WriteCategoryUnspecified)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte("damage"), 200)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
	}
	s, err = Open(small(mem))
	if err == nil {
		_, err = s.Scan(context.Background(), ScanOptions{Limit: 1000})
		require.ErrorIs(t, err, ErrFailed)
		_ = s.Close()
	}
	require.ErrorContains(t, err, "checksum mismatch")
}

// TestFailingOpen lets the n-th operation of a first start and of a restart fail,
// for every n. Open must say so, and the next one, on a disk that works, must
// find everything.
func TestFailingOpen(t *testing.T) {
	for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v, first %v", err, first), func(t *testing.T) {
				refused, hit := 0, true
				for n := int64(1); hit; n++ {
					mem := vfs.NewCrashableMem()
					w := newWitness()
					if !first {
						require.NoError(t, w.work(small(mem), rand.New(rand.NewPCG(3, 3)), 40))
					}
					var ops atomic.Int64
					f := &fault{err: err, hit: func(errorfs.Op) bool { return ops.Add(1) == n }}
					f.on.Store(true)
					opts := small(f.wrap(mem))
					opts.quiet = true
					s, openErr := Open(opts)
					hit = f.hits.Load() > 0
					if openErr != nil {
						refused++
						require.ErrorIs(t, openErr, err)
						require.ErrorContains(t, openErr, "data directory data")
					} else {
						failed := s.Failed()
						if closed := s.Close(); failed != nil || closed != nil {
							require.ErrorIs(t, errors.Join(failed, closed), err)
						}
					}
					require.NoError(t, w.check(mem.CrashClone(vfs.CrashCloneCfg{}), w.snapshot()), "operation %d", n)
					require.NoError(t, w.check(mem, w.snapshot()), "operation %d", n)
				}
				require.Greater(t, refused, 25)
			})
		}
	}
}

// unclosable is a file whose last pages get lost when it is closed.
type unclosable struct{ vfs.File }

func (unclosable) Close() error { return syscall.EIO }

func TestCloseErrorFreezes(t *testing.T) {
	d := newDisk(vfs.NewMem())
	f := &diskFile{File: unclosable{}, d: d, name: "x.log"}
	require.NoError(t, f.Close())
	require.ErrorIs(t, d.err(), syscall.EIO)
	require.ErrorContains(t, d.err(), "close x.log")
}

// TestFrozenDisk looks at the disk alone: after a failure nothing is passed on,
// all changes seem to succeed, and what they made cannot be read.
func TestFrozenDisk(t *testing.T) {
	mem := vfs.NewMem()
	var ops atomic.Int64
	d := newDisk(errorfs.Wrap(mem, errorfs.InjectorFunc(func(errorfs.Op) error { ops.Add(1); return nil })))
	close(d.closed) // no pauses
	f, err := d.Create("a", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	first := errors.New("first")
	d.fail(first)
	d.fail(errors.New("second"))
	require.ErrorIs(t, d.err(), first)
	<-d.failed
	before := ops.Load()
	n, err := f.Write([]byte("lost"))
	require.NoError(t, err)
	require.Equal(t, 4, n)
	require.NoError(t, errors.Join(f.Sync(), f.SyncData(), f.Preallocate(0, 10)))
	_, err = f.SyncTo(4)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("lost"), 0)
	require.NoError(t, err)
	require.NoError(t, errors.Join(d.Rename("a", "b"), d.Link("a", "c"), d.Remove("a"), d.RemoveAll("a"), d.MkdirAll("d", 0o700)))
	for _, open := range []func() (vfs.File, error){
		func() (vfs.File, error) { return d.Create("new", vfs.WriteCategoryUnspecified) },
		func() (vfs.File, error) { return d.OpenReadWrite("new", vfs.WriteCategoryUnspecified) },
		func() (vfs.File, error) { return d.ReuseForWrite("a", "new", vfs.WriteCategoryUnspecified) },
		func() (vfs.File, error) { return d.OpenDir("new") },
	} {
		v, err := open()
		require.NoError(t, err)
		n, err := v.Write([]byte("lost"))
		require.NoError(t, err)
		require.Equal(t, 4, n)
		_, err = v.ReadAt(make([]byte, 4), 0)
		require.ErrorIs(t, err, errFrozen)
		stat, err := v.Stat()
		require.NoError(t, err)
		require.Zero(t, stat.Size())
		require.NoError(t, errors.Join(v.Sync(), v.SyncData(), v.Close()))
	}
	require.Equal(t, before, ops.Load())
	info, err := mem.Stat("a")
	require.NoError(t, err)
	require.Zero(t, info.Size())
	require.NoError(t, f.Close())
}

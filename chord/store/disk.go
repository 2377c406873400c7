package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// frozenPause is how long a failed disk lets a new file wait, so that Pebble's
// retries of a compaction do not spin until the store is closed.
const frozenPause = 5 * time.Millisecond

// markerPrefix begins the names of the files by which Pebble says which manifest
// is the current one.
const markerPrefix = "marker."

// errFrozen answers reads of what a failed disk did not take.
var errFrozen = errors.New("the disk has failed; this was not written")

// disk is the file system that Pebble sees. It hands errors of reads through and
// notes them; an error of anything that changes the disk it notes and hides.
// From the first noted error on it is frozen: nothing that changes the disk is
// passed on and all of it seems to succeed. See the package comment.
type disk struct {
	vfs.FS
	cause  atomic.Pointer[error]
	failed chan struct{} // closed after cause is set
	closed chan struct{} // ends pauses
}

var _ vfs.FS = (*disk)(nil)

func newDisk(under vfs.FS) *disk {
	return &disk{FS: under, failed: make(chan struct{}), closed: make(chan struct{})}
}

// err returns why the disk is frozen, or nil.
func (d *disk) err() error {
	if p := d.cause.Load(); p != nil {
		return *p
	}
	return nil
}

func (d *disk) frozen() bool { return d.cause.Load() != nil }

// fail freezes the disk; the first cause stays. It is done when fail returns, so
// that an operation that failed is known before Pebble learns its end.
func (d *disk) fail(cause error) {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	if d.cause.CompareAndSwap(nil, &err) {
		close(d.failed)
	}
}

// change runs an operation that changes the disk.
func (d *disk) change(op, name string, run func() error) error {
	if d.frozen() {
		return nil
	}
	if err := run(); err != nil {
		d.fail(fmt.Errorf("%s %s: %w", op, name, err))
	}
	return nil
}

// open runs an operation that changes the disk and opens a file.
func (d *disk) open(op, name string, run func() (vfs.File, error)) (vfs.File, error) {
	if !d.frozen() {
		f, err := run()
		if err == nil {
			return &diskFile{File: f, d: d, name: name}, nil
		}
		d.fail(fmt.Errorf("%s %s: %w", op, name, err))
	}
	select {
	case <-time.After(frozenPause):
	case <-d.closed:
	}
	return voidFile{name: d.PathBase(name)}, nil
}

// look notes the error of an operation that only reads. That a file is not there
// is an answer.
func (d *disk) look(op, name string, err error) error {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.fail(fmt.Errorf("%s %s: %w", op, name, err))
	}
	return err
}

// Create makes the directory durable before it makes a marker. Pebble does so only
// afterwards, and trusts the file system not to keep the marker of a manifest
// without the manifest.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open("create", name, func() (vfs.File, error) {
		if strings.HasPrefix(d.PathBase(name), markerPrefix) {
			if err := syncDir(d.FS, d.PathDir(name)); err != nil {
				return nil, err
			}
		}
		return d.FS.Create(name, c)
	})
}

func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.open("open", name, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, c, opts...) })
}

func (d *disk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open("reuse", from, func() (vfs.File, error) { return d.FS.ReuseForWrite(from, to, c) })
}

func (d *disk) OpenDir(name string) (vfs.File, error) {
	return d.open("open directory", name, func() (vfs.File, error) { return d.FS.OpenDir(name) })
}

func (d *disk) Link(from, to string) error {
	return d.change("link", from, func() error { return d.FS.Link(from, to) })
}

func (d *disk) Rename(from, to string) error {
	return d.change("rename", from, func() error { return d.FS.Rename(from, to) })
}

func (d *disk) RemoveAll(name string) error {
	return d.change("remove", name, func() error { return d.FS.RemoveAll(name) })
}

func (d *disk) MkdirAll(name string, perm os.FileMode) error {
	return d.change("make directory", name, func() error { return d.FS.MkdirAll(name, perm) })
}

func (d *disk) Remove(name string) error {
	var absent error
	err := d.change("remove", name, func() error {
		err := d.FS.Remove(name)
		if errors.Is(err, fs.ErrNotExist) {
			absent, err = err, nil
		}
		return err
	})
	return errors.Join(absent, err)
}

func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	if err := d.look("open", name, err); err != nil {
		return nil, err
	}
	return &diskFile{File: f, d: d, name: name}, nil
}

func (d *disk) List(name string) ([]string, error) {
	names, err := d.FS.List(name)
	return names, d.look("list", name, err)
}

func (d *disk) Stat(name string) (vfs.FileInfo, error) {
	info, err := d.FS.Stat(name)
	return info, d.look("stat", name, err)
}

func (d *disk) Unwrap() vfs.FS { return d.FS }

// diskFile is an open file of a disk. Preallocate and Prefetch are hints, and
// their errors nobody's concern.
type diskFile struct {
	vfs.File
	d    *disk
	name string
}

func (f *diskFile) Write(p []byte) (int, error) {
	return len(p), f.d.change("write", f.name, func() error { _, err := f.File.Write(p); return err })
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	return len(p), f.d.change("write", f.name, func() error { _, err := f.File.WriteAt(p, off); return err })
}

func (f *diskFile) Preallocate(off, n int64) error {
	if f.d.frozen() {
		return nil
	}
	return f.File.Preallocate(off, n)
}

func (f *diskFile) Sync() error { return f.d.change("sync", f.name, f.File.Sync) }

func (f *diskFile) SyncData() error { return f.d.change("sync", f.name, f.File.SyncData) }

// SyncTo only begins a sync, but its error may be the only report of a page that
// was lost.
func (f *diskFile) SyncTo(n int64) (full bool, err error) {
	err = f.d.change("sync", f.name, func() error { full, err = f.File.SyncTo(n); return err })
	return full, err
}

// Close closes the file also when the disk is frozen.
func (f *diskFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.d.fail(fmt.Errorf("close %s: %w", f.name, err))
	}
	return nil
}

func (f *diskFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	if err != nil && err != io.EOF {
		f.d.fail(fmt.Errorf("read %s: %w", f.name, err))
	}
	return n, err
}

func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if err != nil && err != io.EOF {
		f.d.fail(fmt.Errorf("read %s: %w", f.name, err))
	}
	return n, err
}

// Stat hides an error as a write does: Pebble asks it of a log that it begins.
func (f *diskFile) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	if err != nil {
		f.d.fail(fmt.Errorf("stat %s: %w", f.name, err))
		return voidInfo{name: f.d.PathBase(f.name)}, nil
	}
	return info, nil
}

// voidFile is a file that a frozen disk did not create.
type voidFile struct{ name string }

var _ vfs.File = voidFile{}

func (voidFile) Close() error                           { return nil }
func (voidFile) Read([]byte) (int, error)               { return 0, errFrozen }
func (voidFile) ReadAt([]byte, int64) (int, error)      { return 0, errFrozen }
func (voidFile) Write(p []byte) (int, error)            { return len(p), nil }
func (voidFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (voidFile) Preallocate(_, _ int64) error           { return nil }
func (f voidFile) Stat() (vfs.FileInfo, error)          { return voidInfo(f), nil }
func (voidFile) Sync() error                            { return nil }
func (voidFile) SyncTo(int64) (bool, error)             { return true, nil }
func (voidFile) SyncData() error                        { return nil }
func (voidFile) Prefetch(_, _ int64) error              { return nil }
func (voidFile) Fd() uintptr                            { return vfs.InvalidFd }

// voidInfo describes a voidFile: it is empty.
type voidInfo struct{ name string }

func (i voidInfo) Name() string         { return i.name }
func (voidInfo) Size() int64            { return 0 }
func (voidInfo) Mode() fs.FileMode      { return 0o600 }
func (voidInfo) ModTime() time.Time     { return time.Time{} }
func (voidInfo) IsDir() bool            { return false }
func (voidInfo) Sys() any               { return nil }
func (voidInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The names in a data directory.
const (
	formatName    = "FORMAT"
	formatTmpName = "FORMAT.tmp"
	lockName      = "LOCK"
	databaseName  = "db"
)

// directory is a locked data directory.
type directory struct {
	fs     vfs.FS
	path   string
	lock   io.Closer
	format format
}

// openDirectory checks, locks and, where it is empty, begins the data directory
// at path. It changes nothing in a directory that is not ours or of another
// format.
func openDirectory(fsys vfs.FS, path string, shards int) (*directory, error) {
	d := &directory{fs: fsys, path: path}
	if err := d.makeDir(); err != nil {
		return nil, err
	}
	if _, err := d.inspect(); err != nil {
		return nil, err
	}
	lock, err := fsys.Lock(d.join(lockName))
	if err != nil {
		return nil, d.explainLock(err)
	}
	d.lock = lock
	if err := d.begin(shards); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

func (d *directory) join(name string) string { return d.fs.PathJoin(d.path, name) }

// begin reads the format, or writes it into an empty directory. The directory is
// locked.
func (d *directory) begin(shards int) error {
	ours, err := d.inspect() // again: another process may have begun it
	if err != nil {
		return err
	}
	if !ours {
		return d.writeFormat(format{Product: product, Format: formatVersion, Shards: shards, State: stateNew})
	}
	switch d.format.State {
	case stateNew:
		return d.removeDatabase()
	case stateRefused:
		return fmt.Errorf("data directory %s: %w", d.path, ErrRefused)
	}
	if _, err := d.fs.Stat(d.join(databaseName)); errors.Is(err, fs.ErrNotExist) {
		return d.lost()
	}
	return nil
}

// lost is the error for a directory whose database is gone.
func (d *directory) lost() error {
	return fmt.Errorf("data directory %s: its database is gone, and a member must not come back without what it promised; "+
		"restore it whole, or start with an empty directory as a new member", d.path)
}

// ready notes that the database holds an identity.
func (d *directory) ready() error {
	if d.format.State == stateReady {
		return nil
	}
	f := d.format
	f.State = stateReady
	return d.writeFormat(f)
}

// refuse notes that the directory must not be opened again. What d.format says
// stays: others read it meanwhile.
func (d *directory) refuse() error {
	f := d.format
	f.State = stateRefused
	if err := d.replaceFormat(f.encode()); err != nil {
		return d.explain("write the FORMAT file of", err)
	}
	return nil
}

// makeDir makes the directory where it is missing, readable by its owner alone,
// and durable.
func (d *directory) makeDir() error {
	var missing []string
	for p := d.path; ; p = d.fs.PathDir(p) {
		info, err := d.fs.Stat(p)
		if err == nil && !info.IsDir() {
			return fmt.Errorf("data directory %s: %s is a file; name a directory, or a path that does not exist yet", d.path, p)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return d.explain("look at", err)
		}
		missing = append(missing, p)
		if d.fs.PathDir(p) == p {
			break
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := d.fs.MkdirAll(d.path, 0o700); err != nil {
		return d.explain("make", err)
	}
	for _, p := range missing {
		if err := syncDir(d.fs, d.fs.PathDir(p)); err != nil {
			return d.explain("sync the parent of", err)
		}
	}
	return nil
}

// inspect reports whether the directory is one of ours, whose format it then
// reads, or empty. Anything else is an error.
func (d *directory) inspect() (ours bool, err error) {
	names, err := d.fs.List(d.path)
	if err != nil {
		return false, d.explain("list", err)
	}
	if slices.Contains(names, formatName) {
		b, err := readFile(d.fs, d.join(formatName), maxFormatFile)
		if err != nil {
			return false, d.explain("read the FORMAT file of", err)
		}
		if d.format, err = parseFormat(b); err != nil {
			return false, fmt.Errorf("data directory %s: %w", d.path, err)
		}
		return true, nil
	}
	slices.Sort(names)
	for _, name := range names {
		// A first start that was cut short leaves the first two; a file system of
		// its own has the third.
		if name != lockName && name != formatTmpName && name != "lost+found" {
			return false, fmt.Errorf("data directory %s: it holds %q but no FORMAT file, so it is not a data directory of chord-plugin; name an empty one", d.path, name)
		}
	}
	return false, nil
}

// writeFormat replaces the file FORMAT: all of it or nothing, durable when it
// returns.
func (d *directory) writeFormat(f format) error {
	if err := d.replaceFormat(f.encode()); err != nil {
		return d.explain("write the FORMAT file of", err)
	}
	d.format = f
	return nil
}

func (d *directory) replaceFormat(b []byte) error {
	tmp := d.join(formatTmpName)
	f, err := d.fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := d.fs.Rename(tmp, d.join(formatName)); err != nil {
		return err
	}
	return syncDir(d.fs, d.path)
}

// close releases the lock.
func (d *directory) close() error {
	if err := d.lock.Close(); err != nil {
		return fmt.Errorf("data directory %s: unlock: %w", d.path, err)
	}
	return nil
}

// explainLock tells a directory that is in use from one that cannot be written.
func (d *directory) explainLock(err error) error {
	// fcntl(2) answers EAGAIN or EACCES; opening the file answers a PathError.
	if !errors.As(err, new(*fs.PathError)) &&
		(errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "held by current process")) {
		return fmt.Errorf("data directory %s: %w by another member; stop that process, or give each member a directory of its own", d.path, ErrInUse)
	}
	return d.explain("lock", err)
}

// explain adds to err what was tried and, where it is known, what to do.
func (d *directory) explain(doing string, err error) error {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = "; make it readable and writable for the user that runs this process"
	case errors.Is(err, syscall.EROFS):
		hint = "; it is on a read-only file system"
	case errors.Is(err, syscall.ENOSPC):
		hint = "; the disk is full"
	}
	return fmt.Errorf("data directory %s: cannot %s it: %w%s", d.path, doing, err, hint)
}

func syncDir(fsys vfs.FS, path string) error {
	f, err := fsys.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// readFile reads a file of at most limit bytes.
func readFile(fsys vfs.FS, path string, limit int64) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, nil
}

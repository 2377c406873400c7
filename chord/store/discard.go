package store

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Discard empties a data directory that no process has open: what is opened there
// next is a new member. It is all or nothing: a directory that Discard was cut
// short in is a new one too. A directory that does not exist is left alone, one
// that is not ours is refused.
func Discard(dir string) error {
	if err := discard(vfs.Default, dir); err != nil {
		return fmt.Errorf("store: discard: %w", err)
	}
	return nil
}

func discard(fsys vfs.FS, path string) error {
	if _, err := fsys.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d := &directory{fs: fsys, path: path}
	if ours, err := d.inspect(); err != nil || !ours {
		return err
	}
	lock, err := fsys.Lock(d.join(lockName))
	if err != nil {
		return d.explainLock(err)
	}
	d.lock = lock
	ours, err := d.inspect()
	if err == nil && ours {
		err = d.empty()
	}
	return errors.Join(err, d.close())
}

// empty makes the directory a new one, without its database.
func (d *directory) empty() error {
	f := d.format
	f.State = stateNew
	if err := d.writeFormat(f); err != nil {
		return err
	}
	return d.removeDatabase()
}

// removeDatabase removes what a first start, or a Discard, that was cut short has
// left of a database.
func (d *directory) removeDatabase() error {
	if err := d.fs.RemoveAll(d.join(databaseName)); err != nil {
		return d.explain("remove the database of", err)
	}
	if err := syncDir(d.fs, d.path); err != nil {
		return d.explain("sync", err)
	}
	return nil
}

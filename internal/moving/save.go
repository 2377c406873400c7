package moving

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// save writes a file as a whole or not at all: beside its place, made durable,
// checked, and then put there under its name. Only its owner may read it. Where path is
// a link to a file, that is replaced.
func save(path string, overwrite bool, write func(io.Writer) error, check func(path string) error) error {
	path, err := destination(path, overwrite)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("make a file beside %s: %w", path, err)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = check(f.Name())
	}
	if err == nil {
		err = place(f.Name(), path, overwrite)
	}
	if err != nil {
		return fmt.Errorf("%s was not written: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	if !overwrite {
		if err := os.Remove(f.Name()); err != nil {
			return fmt.Errorf("%s is written, and its other name is left: %w", path, err)
		}
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%s is written, and may be gone after a crash of the machine: %w", path, err)
	}
	return nil
}

// destination returns where a file is to be put.
func destination(path string, overwrite bool) (string, error) {
	switch _, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil
	case err != nil:
		return "", fmt.Errorf("look for the file: %w", err)
	case !overwrite:
		return "", errThere(path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("follow the link %s: %w", path, err)
	}
	if info, err := os.Stat(real); err != nil {
		return "", fmt.Errorf("look at the file: %w", err)
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file, and would be replaced by one; name a file, or - for standard output", path)
	}
	return real, nil
}

func errThere(path string) error {
	return fmt.Errorf("%s is there already; name another file, or give -overwrite", path)
}

// place gives a file its name. Unless it is to overwrite that is a second name, which,
// other than renaming, fails where it is taken by now.
func place(from, path string, overwrite bool) error {
	if overwrite {
		return os.Rename(from, path)
	}
	switch err := os.Link(from, path); {
	case errors.Is(err, fs.ErrExist):
		return errThere(path)
	case err != nil:
		return fmt.Errorf("%w; where the file system has no hard links, give -overwrite", err)
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package store

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// tree returns the names and contents of a directory, Pebble's locks aside.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			files[path] = "directory"
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	}))
	return files
}

// TestBadDirectories is a table of directories that Open refuses, each with an
// error that says what is wrong, and leaves as they are.
func TestBadDirectories(t *testing.T) {
	write := func(t *testing.T, path, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	begun := func(t *testing.T, dir string) {
		s, err := Open(Options{Dir: dir})
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
	for _, tc := range []struct {
		name    string
		make    func(t *testing.T, dir string)
		sub     string
		want    string
		touched bool // the lock file appears
	}{
		{name: "a file", make: func(t *testing.T, dir string) { write(t, dir, "x") }, want: "is a file; name a directory"},
		{name: "below a file", sub: "/x/y", make: func(t *testing.T, dir string) { write(t, dir, "x") }, want: "is a file; name a directory"},
		{name: "foreign", make: func(t *testing.T, dir string) { write(t, dir+"/photo.jpg", "x") },
			want: `holds "photo.jpg" but no FORMAT file, so it is not a data directory of chord-plugin; name an empty one`},
		{name: "foreign FORMAT", make: func(t *testing.T, dir string) { write(t, dir+"/FORMAT", "PNG") }, want: "it is not a FORMAT file of chord-plugin"},
		{name: "huge FORMAT", make: func(t *testing.T, dir string) { write(t, dir+"/FORMAT", strings.Repeat("x", 5000)) }, want: "more than 4096 bytes"},
		{name: "empty FORMAT", make: func(t *testing.T, dir string) { write(t, dir+"/FORMAT", "") }, want: "it is not a FORMAT file of chord-plugin"},
		{name: "newer", make: func(t *testing.T, dir string) {
			write(t, dir+"/FORMAT", `{"product":"chord-plugin data","format":2,"news":true}`+"\n")
		}, want: "it has format 2 and this build reads format 1; start the build that wrote it, nothing was changed"},
		{name: "no shards", make: func(t *testing.T, dir string) {
			write(t, dir+"/FORMAT", `{"product":"chord-plugin data","format":1,"shards":0,"state":"new"}`+"\n")
		}, want: "0 shards; allowed are 1 to 1024"},
		{name: "unknown state", make: func(t *testing.T, dir string) {
			write(t, dir+"/FORMAT", `{"product":"chord-plugin data","format":1,"shards":16,"state":"odd"}`+"\n")
		}, want: `the state is "odd"`},
		{name: "FORMAT lost", make: func(t *testing.T, dir string) {
			begun(t, dir)
			require.NoError(t, os.Remove(dir+"/FORMAT"))
		}, want: `holds "db" but no FORMAT file`},
		{name: "database lost", make: func(t *testing.T, dir string) {
			begun(t, dir)
			require.NoError(t, os.RemoveAll(dir+"/db"))
		}, want: "its database is gone, and a member must not come back without what it promised"},
		{name: "database emptied", touched: true, make: func(t *testing.T, dir string) {
			begun(t, dir)
			require.NoError(t, os.RemoveAll(dir+"/db"))
			require.NoError(t, os.Mkdir(dir+"/db", 0o700))
		}, want: "its database is gone"},
		{name: "manifest damaged", touched: true, make: func(t *testing.T, dir string) {
			begun(t, dir)
			names, err := filepath.Glob(dir + "/db/MANIFEST-*")
			require.NoError(t, err)
			require.NotEmpty(t, names)
			for _, name := range names {
				b, err := os.ReadFile(name)
				require.NoError(t, err)
				for i := range min(len(b), 64) {
					b[i] ^= 0xff
				}
				write(t, name, string(b))
			}
		}, want: "the data is damaged; move it away and start with an empty directory as a new member"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir() + "/d"
			tc.make(t, dir)
			before := tree(t, dir)
			_, err := Open(Options{Dir: dir + tc.sub})
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, "store: data directory "+dir)
			if !tc.touched {
				after := tree(t, dir)
				require.Equal(t, before, after)
			}
			_, again := Open(Options{Dir: dir + tc.sub})
			require.NotErrorIs(t, again, ErrInUse)
			require.Error(t, again)
		})
	}
}

func TestBadOptions(t *testing.T) {
	for want, opts := range map[string]Options{
		"no data directory is named":               {},
		"shards is -1; allowed are 1 to 1024":      {Memory: true, Shards: -1},
		"shards is 1025; allowed are 1 to 1024":    {Memory: true, Shards: 1025},
		"batch, queue and cache are -1, 67108864 ": {Memory: true, MaxBatchBytes: -1},
	} {
		_, err := Open(opts)
		require.ErrorContains(t, err, "store: "+want)
	}
}

// TestUnwritableDirectories injects what a file system answers to a user who may
// not write; tests may run as one who may.
func TestUnwritableDirectories(t *testing.T) {
	for _, tc := range []struct {
		kind errorfs.OpKind
		err  error
		want string
	}{
		{errorfs.OpMkdirAll, syscall.EACCES, "cannot make it: permission denied; make it readable and writable for the user that runs this process"},
		{errorfs.OpMkdirAll, syscall.EROFS, "cannot make it: read-only file system; it is on a read-only file system"},
		{errorfs.OpLock, &os.PathError{Op: "open", Path: "data/LOCK", Err: syscall.EACCES}, "cannot lock it: open data/LOCK: permission denied; make it readable and writable"},
		{errorfs.OpLock, &os.PathError{Op: "open", Path: "data/LOCK", Err: syscall.EROFS}, "it is on a read-only file system"},
		{errorfs.OpList, syscall.EACCES, "cannot list it: permission denied; make it readable and writable"},
		{errorfs.OpStat, syscall.EIO, "cannot look at it: input/output error"},
		{errorfs.OpCreate, syscall.ENOSPC, "cannot write the FORMAT file of it: no space left on device; the disk is full"},
		{errorfs.OpRename, syscall.EIO, "cannot write the FORMAT file of it: input/output error"},
	} {
		f := &fault{err: tc.err, hit: func(op errorfs.Op) bool { return op.Kind == tc.kind }}
		f.on.Store(true)
		_, err := Open(small(f.wrap(vfs.NewMem())))
		require.ErrorContains(t, err, "store: data directory data: ")
		require.ErrorContains(t, err, tc.want)
		require.NotErrorIs(t, err, ErrInUse)
	}
}

// TestInUse opens a directory twice in this process, and once more in another.
func TestInUse(t *testing.T) {
	dir := t.TempDir()
	if held := os.Getenv("STORE_TEST_IN_USE"); held != "" {
		_, err := Open(Options{Dir: held})
		require.ErrorIs(t, err, ErrInUse)
		fmt.Println("refused:", err)
		return
	}
	s := mustOpen(t, Options{Dir: dir})
	_, err := Open(Options{Dir: dir})
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, "it is in use by another member; stop that process, or give each member a directory of its own")
	cmd := exec.Command(os.Args[0], "-test.run=^TestInUse$")
	cmd.Env = append(slices.Clone(os.Environ()), "STORE_TEST_IN_USE="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.True(t, bytes.Contains(out, []byte("refused: ")), string(out))
	require.NoError(t, s.Close())
	mustOpen(t, Options{Dir: dir})

	mem := vfs.NewMem()
	mustOpen(t, small(mem))
	_, err = Open(small(mem))
	require.ErrorIs(t, err, ErrInUse)
}

func TestDirectoryIsPrivate(t *testing.T) {
	dir := t.TempDir() + "/a/b"
	mustOpen(t, Options{Dir: dir})
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

// TestDatabaseIsPrivate: a directory that was made for the member keeps its mode, as
// install -d, systemd and container volumes make it; what nobody else may read is in
// the database's.
func TestDatabaseIsPrivate(t *testing.T) {
	mode := func(path string) os.FileMode {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.Mode().Perm()
	}
	dir := t.TempDir() + "/data"
	require.NoError(t, os.Mkdir(dir, 0o755))
	for range 2 {
		s := mustOpen(t, Options{Dir: dir})
		require.Equal(t, os.FileMode(0o700), mode(dir+"/db"))
		require.Equal(t, os.FileMode(0o755), mode(dir))
		require.NoError(t, s.Close())
		require.NoError(t, os.Chmod(dir+"/db", 0o755)) // as an older build left it
	}
}

func TestEmptyMountPointIsTaken(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(dir+"/lost+found", 0o700))
	mustOpen(t, Options{Dir: dir})
}

// TestRefused: a directory that was refused stays so until it is emptied.
func TestRefused(t *testing.T) {
	mem := vfs.NewMem()
	s := mustOpen(t, small(mem))
	who := s.Identity()
	require.NoError(t, s.Refuse())
	require.NoError(t, s.Close())
	for range 3 {
		_, err := Open(small(mem))
		require.ErrorIs(t, err, ErrRefused)
		require.ErrorContains(t, err, "store: data directory data: it was refused")
		require.ErrorContains(t, err, "Empty the directory")
	}
	require.NoError(t, discard(mem, "data"))
	require.NotEqual(t, who.Node, mustOpen(t, small(mem)).Identity().Node)

	f := &fault{err: syscall.EIO, hit: func(op errorfs.Op) bool { return op.Kind == errorfs.OpRename }}
	s = mustOpen(t, small(f.wrap(vfs.NewMem())))
	f.on.Store(true)
	require.ErrorContains(t, s.Refuse(), "cannot write the FORMAT file of it: input/output error")
	f.on.Store(false)
}

package moving

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

func exporting(b backend.Backend, path string) *Export {
	return &Export{Backend: b, Format: JSON, Path: path, Timeout: time.Minute}
}

func filled(t *testing.T, entries []Entry) *bent {
	b := newBent(t, backend.DefaultLimits())
	for _, e := range entries {
		_, err := b.Store.Put(t.Context(), e.Key, e.Value, backend.PutOptions{Flags: e.Flags, ExpiresAfter: e.Expires})
		require.NoError(t, err)
	}
	return b
}

// TestExport: what was exported and imported elsewhere has the same hash.
func TestExport(t *testing.T) {
	b := filled(t, append(many(40), Entry{Key: "short", Expires: time.Hour}))
	for _, format := range Writable() {
		path := filepath.Join(t.TempDir(), "out")
		x := exporting(b, path)
		x.Format = format
		shown := map[string]bool{}
		x.Show = func(p Progress) { shown[p.Doing] = true }
		out, err := x.Run(t.Context())
		require.NoError(t, err)
		require.True(t, out.Verified)
		require.Equal(t, []int{41, 2}, []int{out.Keys, out.Pages})
		require.Equal(t, format == ConsulExport, out.Mortal == 1)
		require.Equal(t, map[string]bool{"read": true, "verified": true}, shown)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())

		m := importing(newBent(t, backend.DefaultLimits()), path)
		m.Format = format
		moved, err := run(t, m)
		require.NoError(t, err)
		require.Equal(t, out.SHA256, moved.SHA256)
		require.Equal(t, out.Bytes, moved.Bytes)
	}
	// To a stream, and only a part.
	var text bytes.Buffer
	x := exporting(b, "-")
	x.Out, x.Prefix = &text, "k0003"
	out, err := x.Run(t.Context())
	require.NoError(t, err)
	require.False(t, out.Verified)
	require.Equal(t, 10, out.Keys)
	require.Equal(t, 12, bytes.Count(text.Bytes(), []byte("\n")))
	x.Format = VaultFile
	_, err = x.Run(t.Context())
	require.EqualError(t, err, "vault-file is read only")
}

// TestNothingIsLost: a file that is there stays as it is, whatever goes wrong, and
// nothing is left beside it.
func TestNothingIsLost(t *testing.T) {
	b := filled(t, many(3))
	path := written(t, "out", []byte("mine"))
	_, err := exporting(b, path).Run(t.Context())
	require.ErrorContains(t, err, "is there already; name another file, or give -overwrite")

	ctx, interrupt := context.WithCancel(t.Context())
	b.beforeList = func(q backend.ListQuery) error {
		if !q.Values {
			return nil
		}
		interrupt()
		return backend.Errorf(backend.NotReady, "", "gone: %w", ctx.Err())
	}
	x := exporting(b, path)
	x.Overwrite = true
	_, err = x.Run(ctx)
	require.ErrorContains(t, err, path+" was not written: interrupted: ")
	require.ErrorIs(t, err, context.Canceled)
	b.beforeList = func(backend.ListQuery) error { return backend.Errorf(backend.NotReady, "", "nobody answers") }
	_, err = x.Run(t.Context())
	require.ErrorIs(t, err, backend.ErrNotReady)
	b.beforeList = nil

	full := func(io.Writer) error { return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC} }
	fine := func(string) error { return nil }
	require.ErrorIs(t, save(path, true, full, fine), syscall.ENOSPC)
	wrong := errors.New("it differs")
	require.ErrorIs(t, save(path, true, func(io.Writer) error { return nil }, func(string) error { return wrong }), wrong)

	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "mine", string(text))
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, left, 1)

	_, err = x.Run(t.Context())
	require.NoError(t, err)
	got, _, err := all(t, JSON, path)
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.ErrorContains(t, save(filepath.Join(path, "under"), false, full, fine), "not a directory")
	require.ErrorContains(t, save(filepath.Join(t.TempDir(), "none", "under"), false, full, fine), "make a file beside")
}

// TestOnlyFiles: a device, a pipe, a directory and a link to nothing are not replaced, and
// of a link what it leads to is.
func TestOnlyFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, syscall.Mkfifo(path("pipe"), 0o600))
	require.NoError(t, os.Symlink(os.DevNull, path("device")))
	require.NoError(t, os.Symlink(path("none"), path("nothing")))
	require.NoError(t, os.Mkdir(path("dir"), 0o700))
	require.NoError(t, os.WriteFile(path("dir/real"), []byte("old"), 0o600))
	require.NoError(t, os.Symlink("dir/real", path("link")))
	text := func(w io.Writer) error {
		_, err := io.WriteString(w, "new")
		return err
	}
	fine := func(string) error { return nil }
	for _, name := range []string{"pipe", "device", "dir"} {
		require.ErrorContains(t, save(path(name), true, text, fine), "is no regular file, and would be replaced by one; name a file, or - for standard output", name)
	}
	require.ErrorIs(t, save(path("nothing"), true, text, fine), os.ErrNotExist)
	info, err := os.Lstat(path("pipe"))
	require.NoError(t, err)
	require.Equal(t, os.ModeNamedPipe, info.Mode().Type())

	require.ErrorContains(t, save(path("link"), false, text, fine), "is there already")
	require.NoError(t, save(path("link"), true, text, fine))
	info, err = os.Lstat(path("link"))
	require.NoError(t, err)
	require.Equal(t, os.ModeSymlink, info.Mode().Type())
	got, err := os.ReadFile(path("dir/real"))
	require.NoError(t, err)
	require.Equal(t, "new", string(got))
	left, err := os.ReadDir(path("dir"))
	require.NoError(t, err)
	require.Len(t, left, 1)

	// A file that somebody puts there meanwhile is not replaced.
	meanwhile := func(string) error { return os.WriteFile(path("late"), []byte("theirs"), 0o600) }
	require.ErrorContains(t, save(path("late"), false, text, meanwhile), "late is there already")
	got, err = os.ReadFile(path("late"))
	require.NoError(t, err)
	require.Equal(t, "theirs", string(got))
	require.NoError(t, save(path("new"), false, text, fine))
	left, err = os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 7)
}

// TestDiskForgets: what is read back must be what was written.
func TestDiskForgets(t *testing.T) {
	b := filled(t, many(3))
	x := exporting(b, "-")
	x.Out = io.Discard
	out, err := x.Run(t.Context())
	require.NoError(t, err)
	f, err := formatOf(JSON)
	require.NoError(t, err)
	err = x.check(t.Context(), &source{format: f, path: lines(t, many(2)...)}, out)
	require.ErrorContains(t, err, "read back, the file has 2 keys with SHA-256 ")
	require.False(t, out.Verified)
}

// stuck repeats its first page for ever.
type stuck struct{ backend.Backend }

func (s stuck) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	q.After = ""
	r, err := s.Backend.List(ctx, q)
	if err == nil {
		r.More = true
	}
	return r, err
}

func TestPagesGoOn(t *testing.T) {
	x := exporting(stuck{filled(t, many(3))}, "-")
	x.Out = io.Discard
	_, err := x.Run(t.Context())
	require.ErrorContains(t, err, `list the keys behind "k00002": the pages do not go on`)
}

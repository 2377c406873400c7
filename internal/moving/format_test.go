package moving

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/internal/moving/movingtest"
)

// written makes a file and returns its path.
func written(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// all reads a source to its end.
func all(t *testing.T, name, path string) (entries []Entry, leftOut []string, err error) {
	t.Helper()
	f, err := formatOf(name)
	require.NoError(t, err)
	s := &source{format: f, path: path, leftOut: func(key, _ string) { leftOut = append(leftOut, key) }}
	err = s.each(context.Background(), func(e *Entry) error {
		entries = append(entries, *e)
		return nil
	})
	return entries, leftOut, err
}

// TestRefused: each bad input has an error that says what is wrong, and where.
func TestRefused(t *testing.T) {
	keyring := movingtest.Entry{Key: "core/keyring", Value: "k"}
	snapshot := func(files ...movingtest.File) []byte {
		var b bytes.Buffer
		require.NoError(t, movingtest.Pack(&b, files...))
		return b.Bytes()
	}
	good := movingtest.Files(movingtest.State(keyring))
	changed := movingtest.Files(movingtest.State(movingtest.Entry{Key: "core/keyring", Value: "K"}))
	whole := snapshot(good...)
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-6]++ // in the checksum of gzip
	head := `{"format":"chord-plugin/1"}` + "\n"
	for _, tc := range []struct {
		name, format string
		content      []byte
		want         string
	}{
		{"no gzip", VaultSnapshot, []byte("[]"), "is not a snapshot of Raft storage, which is packed by gzip"},
		{"empty", VaultSnapshot, nil, "packed by gzip: EOF"},
		{"cut off", VaultSnapshot, whole[:len(whole)/2], "cut off"},
		{"cut off in the last bytes", VaultSnapshot, whole[:len(whole)-4], "is cut off"},
		{"checksum of gzip", VaultSnapshot, flipped, "gzip: invalid checksum"},
		{"other state", VaultSnapshot, snapshot(good[0], changed[1], good[2]), "is damaged: the SHA-256 of its state.bin is"},
		{"other meta", VaultSnapshot, snapshot(movingtest.File{Name: "meta.json", Content: []byte("{}")}, good[1], good[2]), "is damaged: the SHA-256 of its meta.json is"},
		{"meta no JSON", VaultSnapshot, snapshot(movingtest.File{Name: "meta.json", Content: []byte("{")}, good[1], good[2]), "its meta.json is no JSON"},
		{"huge meta", VaultSnapshot, snapshot(movingtest.File{Name: "meta.json", Content: make([]byte, maxSnapshotFile+1)}), "its meta.json has more than 1048576 bytes"},
		{"no sums", VaultSnapshot, snapshot(good[0], good[1]), "there is no checksum of meta.json in it"},
		{"no state", VaultSnapshot, snapshot(good[0], good[2]), "it holds no state.bin"},
		{"state twice", VaultSnapshot, snapshot(good[0], good[1], good[1], good[2]), "it holds state.bin twice"},
		{"other file", VaultSnapshot, snapshot(good[0], movingtest.File{Name: "x"}), `it holds a file "x"`},
		{"of Consul", VaultSnapshot, snapshot(movingtest.Files([]byte("\x82\xa9LastIndex"))...), "entry 1 of state.bin: "},
		{"state cut off", VaultSnapshot, snapshot(movingtest.Files(movingtest.State(keyring)[:9])...), "entry 1 of state.bin: unexpected EOF; it is cut off or damaged"},
		{"huge entry", VaultSnapshot, snapshot(movingtest.Files([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})...), "takes more than 32 MiB"},
		{"key of a wrong type", VaultSnapshot, snapshot(movingtest.Files([]byte{2, 8, 1})...), "field 1 is no text"},
		{"no key", VaultSnapshot, snapshot(movingtest.Files([]byte{3, 0x12, 1, 'v'})...), "it has no key"},
		{"a field cut off", VaultSnapshot, snapshot(movingtest.Files([]byte{3, 0x0a, 9, 'v'})...), "entry 1 of state.bin: unexpected EOF"},
		{"not of Vault", VaultSnapshot, snapshot(movingtest.Files(movingtest.State(movingtest.Entry{Key: "a"}))...), `has no key "core/keyring"`},

		{"empty", ConsulExport, nil, "is empty"},
		{"an object", ConsulExport, []byte(head), "is not what consul kv export prints, an array of objects with key, flags and value: it does not begin with ["},
		{"numbers", ConsulExport, []byte("[1]"), "is not what consul kv export prints"},
		{"no key", ConsulExport, []byte("[{}]"), "an object has no key"},
		{"no value", ConsulExport, []byte(`[{"key":"a","flags":0}]`), `array of objects with key, flags and value: key "a" has no value`},
		{"cut off", ConsulExport, []byte(`[{"key":"a","value":"`), "is cut off: unexpected EOF"},
		{"cut off between", ConsulExport, []byte(`[{"key":"a","value":""}`), "is cut off: unexpected EOF"},
		{"more", ConsulExport, []byte(`[] []`), "something stands behind the array"},
		{"no base64", ConsulExport, []byte(`[{"key":"a","value":"?"}]`), "illegal base64"},
		{"lost name", ConsulExport, []byte("[{\"key\":\"a\xff\",\"value\":\"\"}]"), "so its name is lost"},
		{"two namespaces", ConsulExport, []byte(`[{"key":"a","value":"","namespace":"x"},{"key":"b","value":"","namespace":"default"}]`), `key "b" is in partition "default", namespace "default", and those before it in partition "default", namespace "x"`},
		{"huge", ConsulExport, []byte(`[{"key":"a","value":"` + strings.Repeat("A", 2*maxRecord) + `"}]`), "takes more than 32 MiB"},

		{"empty", JSON, nil, "is cut off"},
		{"an array", JSON, []byte("[]\n"), `line 1: it is not {"format":"chord-plugin/1"}, so this is not json of chord-plugin export`},
		{"newer", JSON, []byte(`{"format":"chord-plugin/2"}`), `the format is "chord-plugin/2", and this version reads "chord-plugin/1"`},
		{"no end", JSON, []byte(head), "is cut off"},
		{"cut off in a line", JSON, []byte(head + `{"key":"a","val`), "line 2: it is cut off"},
		{"a line lost", JSON, []byte(head + `{"keys":1}`), "it says that there are 1 keys, and there are 0"},
		{"changed", JSON, []byte(head + `{"keys":0,"sha256":"00"}`), "the lines before were changed: their SHA-256 is "},
		{"behind the end", JSON, []byte(head + `{"keys":0}` + "\n" + `{"keys":0}`), "line 3: it stands behind the end"},
		{"two heads", JSON, []byte(head + head), "line 2: it is no entry"},
		{"no value", JSON, []byte(head + `{"key":"a"}`), "line 2: it is no entry"},
		{"null", JSON, []byte(head + `{"key":"a","value":null}`), "line 2: it is no entry"},
		{"unknown field", JSON, []byte(head + `{"key":"a","value":"","flag":1}`), `unknown field "flag"`},
		{"two objects", JSON, []byte(head + `{"key":"a","value":""}{}`), "more than one object"},
		{"no UTF-8", JSON, []byte(head + "{\"key\":\"\xff\",\"value\":\"\"}"), "line 2: it is not UTF-8"},
		{"half a surrogate pair", JSON, []byte(head + `{"key":"s\ud800","value":""}`), `line 2: \ud800 is half of a character`},
		{"no lifetime", JSON, []byte(head + `{"key":"a","value":"","expires":"-1s"}`), `expires is "-1s"`},
		{"huge", JSON, []byte(head + strings.Repeat(" ", maxRecord)), "takes more than 32 MiB"},
	} {
		t.Run(tc.format+"/"+tc.name, func(t *testing.T) {
			path := written(t, "source", tc.content)
			_, _, err := all(t, tc.format, path)
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, path)
		})
	}
	for _, format := range Readable() {
		_, _, err := all(t, format, filepath.Join(t.TempDir(), "none"))
		require.ErrorIs(t, err, fs.ErrNotExist, format)
	}
	for _, format := range []string{VaultSnapshot, ConsulExport, JSON} {
		_, _, err := all(t, format, t.TempDir())
		require.ErrorContains(t, err, "is a directory", format)
	}
	_, err := formatOf("etcd")
	require.EqualError(t, err, `there is no format "etcd"`)
}

// TestOnlyRereadable: what cannot be read twice is refused without opening it, which would
// wait for a writer.
func TestOnlyRereadable(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	for _, path := range []string{os.DevNull, pipe} {
		for _, format := range Readable() {
			_, _, err := all(t, format, path)
			require.ErrorContains(t, err, path+" is neither a file nor a directory; it is read twice, so write it to a file", format)
		}
	}
}

func TestSnapshot(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, movingtest.Pack(&b, movingtest.Files(append(
		movingtest.State(
			movingtest.Entry{Key: "core/keyring", Value: "k\x00\xff"}, movingtest.Entry{Key: "core/lock", Value: "x"},
			movingtest.Entry{Key: "raftchunking/1/2", Value: "x"}, movingtest.Entry{Key: "sys/empty"}),
		// The value before the key, and fields of a later version.
		12, 0x12, 1, 'v', 0x18, 1, 0x0a, 1, 'z', 0x22, 2, 1, 2))...))
	entries, leftOut, err := all(t, VaultSnapshot, written(t, "vault.snap", b.Bytes()))
	require.NoError(t, err)
	require.Equal(t, []Entry{{Key: "core/keyring", Value: []byte("k\x00\xff")}, {Key: "sys/empty", Value: []byte{}}, {Key: "z", Value: []byte("v")}}, entries)
	require.Equal(t, []string{"core/lock", "raftchunking/1/2"}, leftOut)
}

// TestSnapshotOfVault reads a file that Vault's libraries wrote: raft-snapshot 1.0.4,
// and StorageEntry of sdk 0.9.2 through gogo's delimited writer.
func TestSnapshotOfVault(t *testing.T) {
	entries, leftOut, err := all(t, VaultSnapshot, "testdata/vault.snap")
	require.NoError(t, err)
	require.Empty(t, leftOut)
	require.Equal(t, []Entry{
		{Key: "core/keyring", Value: []byte("ring\x00\x01\xff")}, {Key: "logical/9e6b/a", Value: bytes.Repeat([]byte("v"), 300)}, {Key: "sys/empty", Value: []byte{}},
	}, entries)
}

// TestFileStorageOfVault reads a directory that Vault's own file storage wrote, that of
// sdk 0.9.2.
func TestFileStorageOfVault(t *testing.T) {
	entries, _, err := all(t, VaultFile, "testdata/vault-file")
	require.NoError(t, err)
	require.Equal(t, []Entry{
		{Key: "core/keyring", Value: []byte("ring\x00\x01\xff")}, {Key: "logical/9e6b/a", Value: bytes.Repeat([]byte("v"), 300)}, {Key: "sys/_odd_", Value: []byte("o")}, {Key: "sys/empty", Value: []byte{}},
	}, entries)
}

func vaultFile(value string) *fstest.MapFile {
	return &fstest.MapFile{Data: fmt.Appendf(nil, `{"Value":%q}`+"\n", base64.StdEncoding.EncodeToString([]byte(value)))}
}

// forbidden is a tree in which one file must not be read.
type forbidden struct {
	fs.FS
	name string
}

func (f forbidden) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return f.FS.Open(name)
}

func TestVaultFiles(t *testing.T) {
	walk := func(tree fs.FS) (got []Entry, err error) {
		err = walkVault(tree, "/vault/data", func(e *Entry) error {
			got = append(got, *e)
			return nil
		})
		return got, err
	}
	got, err := walk(fstest.MapFS{
		"core/_keyring": vaultFile("k"), "_top": vaultFile(""), "__a": vaultFile("_"), "_dir/_x": vaultFile("v"),
		"sys/_older":    {Data: []byte(`{"Key":"sys/older","Value":"aGk=","SealWrap":false}`)},
		"sys/_null":     {Data: []byte(`{"Value":null}`)},
		"sys/_full":     {}, // by a disk that was full
		"sys/_cut.temp": {Data: []byte(`{"Value":"aG`)}, "sys/_none.temp": {}, "sys/_whole.temp": vaultFile("w"),
	})
	require.NoError(t, err)
	require.ElementsMatch(t, []Entry{
		{Key: "core/keyring", Value: []byte("k")}, {Key: "top", Value: []byte{}}, {Key: "_a", Value: []byte("_")}, {Key: "_dir/x", Value: []byte("v")},
		{Key: "sys/older", Value: []byte("hi")}, {Key: "sys/null"}, {Key: "sys/full", left: "its file is empty, and Vault takes that for no key"},
		{Key: "sys/cut.temp", left: "it is a write that Vault never finished"}, {Key: "sys/none.temp", left: "it is a write that Vault never finished"},
		{Key: "sys/whole.temp", Value: []byte("w"), doubt: "it is moved, and may be a write that Vault never finished"},
	}, got)

	for _, tc := range []struct {
		want string
		tree fs.FS
	}{
		{"/vault/data/notes is not of Vault's file storage", fstest.MapFS{"notes": {}}},
		{"/vault/data is the directory of Raft storage", fstest.MapFS{"vault.db": {}, "raft/x": {}}},
		{"/vault/data/a/_k: it is cut off", fstest.MapFS{"a/_k": {Data: []byte(`{"Value":"aGk`)}}},
		{"/vault/data/a/_k: it has no Value", fstest.MapFS{"a/_k": {Data: []byte(`{"value":"aGk="}`)}}},
		{"/vault/data/a/_k: its Value is not base64", fstest.MapFS{"a/_k": {Data: []byte(`{"Value":"?"}`)}}},
		{"/vault/data/a/_k: a key with its value takes more than 32 MiB", fstest.MapFS{"a/_k": {Data: make([]byte, maxRecord+1)}}},
		{"/vault/data/a/_k is a link", fstest.MapFS{"a/_k": {Mode: fs.ModeSymlink}}},
		{"/vault/data/a/_k: open a/_k: permission denied", forbidden{fstest.MapFS{"a/_k": vaultFile("v")}, "a/_k"}},
		{"/vault/data/a: open a: permission denied", forbidden{fstest.MapFS{"a/_k": vaultFile("v")}, "a"}},
	} {
		_, err := walk(tc.tree)
		require.ErrorContains(t, err, tc.want)
	}
	_, _, err = all(t, VaultFile, t.TempDir())
	require.ErrorContains(t, err, `has no key "core/keyring", so it is not the whole storage of a Vault`)
	_, _, err = all(t, VaultFile, written(t, "file", nil))
	require.ErrorContains(t, err, "open the directory of Vault's file storage: ")
}

// TestRoundTrip: what is written is read again.
func TestRoundTrip(t *testing.T) {
	want := []Entry{
		{Key: "a", Value: []byte{}}, {Key: "b\"\\<&>\u2028\u00e9", Value: []byte("\x00\xff\n"), Flags: 1<<64 - 1},
		{Key: "c", Value: bytes.Repeat([]byte("long "), 50_000), Flags: 7, Expires: 90 * time.Second},
	}
	for _, format := range Writable() {
		for n := range len(want) + 1 {
			f, err := formatOf(format)
			require.NoError(t, err)
			var b bytes.Buffer
			w := f.write(&b)
			var expected []Entry
			for _, e := range want[:n] {
				if format == ConsulExport {
					e.Expires = 0
				}
				expected = append(expected, e)
				if len(e.Value) == 0 {
					e.Value = nil
				}
				require.NoError(t, w.put(&e))
			}
			require.NoError(t, w.end())
			got, _, err := all(t, format, written(t, "export", b.Bytes()))
			require.NoError(t, err)
			require.Equal(t, expected, got)
		}
	}
}

// TestConsulByHTTP: what Consul answers to /v1/kv/?recurse is read as well.
func TestConsulByHTTP(t *testing.T) {
	entries, _, err := all(t, ConsulExport, written(t, "recurse", []byte(
		`[{"LockIndex":1,"Key":"a","Flags":3,"Value":"aGk=","Session":"s","CreateIndex":4,"ModifyIndex":5},{"LockIndex":0,"Key":"b","Flags":0,"Value":null}]`)))
	require.NoError(t, err)
	require.Equal(t, []Entry{{Key: "a", Value: []byte("hi"), Flags: 3}, {Key: "b", Value: []byte{}}}, entries)
}

// TestHash holds the hash to what docs/moving.md says of it.
func TestHash(t *testing.T) {
	h := sha256.New()
	for _, sum := range [][32]byte{
		sha256.Sum256([]byte("\x00\x00\x00\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x2a" + "\x00\x00\x00\x02\x54\x0b\xe4\x00" + "a" + "hi")),
		sha256.Sum256([]byte("\x00\x00\x00\x00\x00\x00\x00\x02" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "bb")),
	} {
		h.Write(sum[:])
	}
	d := newDigest()
	d.add((&Entry{Key: "a", Value: []byte("hi"), Flags: 42, Expires: 10 * time.Second}).sum())
	d.add((&Entry{Key: "bb"}).sum())
	require.Equal(t, hex.EncodeToString(h.Sum(nil)), d.text())
}

// FuzzStorageEntry: any bytes are an entry or an error.
func FuzzStorageEntry(f *testing.F) {
	f.Add([]byte{0x0a, 1, 'k', 0x12, 1, 'v', 0x18, 1})
	f.Add([]byte{0x0a, 0xff})
	f.Fuzz(func(t *testing.T, message []byte) {
		if e, err := storageEntry(message); err == nil && (e.Key == "" || len(e.Key)+len(e.Value) > len(message)) {
			t.Fatalf("%q has key %q and value %q", message, e.Key, e.Value)
		}
	})
}

// FuzzLines: what is read as our own format is the same when it was written and read
// again.
func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"key":"a","value":"aGk=","flags":3,"expires":"1m"}`))
	f.Add([]byte(`{"keys":0}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := lineReader{begun: true, sum: sha256.New()}
		e, err := r.line(text)
		if err != nil || e == nil {
			return
		}
		var b bytes.Buffer
		w := newLineWriter(&b)
		require.NoError(t, w.put(e))
		require.NoError(t, w.end())
		again := lineReader{begun: true, sum: sha256.New()}
		got, err := again.line(bytes.SplitAfter(b.Bytes(), []byte("\n"))[1])
		require.NoError(t, err)
		require.Equal(t, e, got)
	})
}

// TestTakeIsKept: the error of whoever takes the entries ends the reading, as it is.
func TestTakeIsKept(t *testing.T) {
	stop := errors.New("enough")
	var b bytes.Buffer
	require.NoError(t, movingtest.Pack(&b, movingtest.Files(movingtest.State(movingtest.Entry{Key: "a"}))...))
	for format, path := range map[string]string{
		VaultFile:     "testdata/vault-file",
		VaultSnapshot: written(t, "snap", b.Bytes()),
		ConsulExport:  written(t, "consul", []byte(`[{"key":"a","value":""}]`)),
		JSON:          written(t, "json", []byte("{\"format\":\"chord-plugin/1\"}\n{\"key\":\"a\",\"value\":\"\"}\n")),
	} {
		f, err := formatOf(format)
		require.NoError(t, err)
		require.Equal(t, stop, f.read(path, func(*Entry) error { return stop }), format)
	}
}

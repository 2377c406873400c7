// Package movingtest makes what package moving reads, for tests.
package movingtest

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
)

// Entry is a key of a snapshot.
type Entry struct{ Key, Value string }

// State is the state.bin of a snapshot of Vault's Raft storage.
func State(entries ...Entry) []byte {
	var state []byte
	for _, e := range entries {
		var message []byte
		for tag, text := range map[byte]string{0x0a: e.Key, 0x12: e.Value} {
			message = binary.AppendUvarint(append(message, tag), uint64(len(text)))
			message = append(message, text...)
		}
		state = append(binary.AppendUvarint(state, uint64(len(message))), message...)
	}
	return state
}

// File is a file in a snapshot.
type File struct {
	Name    string
	Content []byte
}

// Files are those of a snapshot with this state, their sums among them.
func Files(state []byte) []File {
	meta := []byte(`{"Version":1,"ID":"bolt-snapshot","Index":7,"Term":2}` + "\n")
	sums := fmt.Sprintf("%x  meta.json\n%x  state.bin\n", sha256.Sum256(meta), sha256.Sum256(state))
	return []File{{"meta.json", meta}, {"state.bin", state}, {"SHA256SUMS", []byte(sums)}, {"SHA256SUMS.sealed", []byte{1, 2, 3}}}
}

// Pack writes the files as a snapshot.
func Pack(w io.Writer, files ...File) error {
	packed := gzip.NewWriter(w)
	archive := tar.NewWriter(packed)
	for _, f := range files {
		if err := archive.WriteHeader(&tar.Header{Name: f.Name, Mode: 0o600, Size: int64(len(f.Content))}); err != nil {
			return err
		}
		if _, err := archive.Write(f.Content); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return packed.Close()
}

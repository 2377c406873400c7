package moving

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// The files of a snapshot. What seals the sums can be opened by the Vault that
// made them only, and is not looked at.
const (
	snapshotMeta   = "meta.json"
	snapshotState  = "state.bin"
	snapshotSums   = "SHA256SUMS"
	snapshotSealed = "SHA256SUMS.sealed"
)

// maxSnapshotFile bounds each file of a snapshot but state.bin, in bytes.
const maxSnapshotFile = 1 << 20

// readSnapshot reads what "vault operator raft snapshot save" writes: a tar file
// packed by gzip, of state.bin with the entries and of the sums of its files, which
// are checked when all has been read.
func readSnapshot(path string, take take) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the snapshot: %w", err)
	}
	defer f.Close() // it was only read
	unpacked, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return fmt.Errorf("%s is not a snapshot of Raft storage, which is packed by gzip: %w", path, err)
	}
	s := snapshotReader{path: path, take: take, sums: map[string]string{}}
	archive := tar.NewReader(unpacked)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return cutOff(path, err)
		}
		if err := s.file(header.Name, archive); err != nil {
			return err
		}
	}
	// The checksum of gzip is behind all that it packs.
	if _, err := io.Copy(io.Discard, unpacked); err != nil {
		return cutOff(path, err)
	}
	return s.check()
}

type snapshotReader struct {
	path string
	take take
	// sums are those of the files that were read, in hex.
	sums map[string]string
	// stated is the text of SHA256SUMS.
	stated string
}

func (s *snapshotReader) file(name string, content io.Reader) error {
	if _, twice := s.sums[name]; twice {
		return fmt.Errorf("%s is not a snapshot of Vault: it holds %s twice", s.path, name)
	}
	h := sha256.New()
	summed := io.TeeReader(content, h)
	switch name {
	case snapshotState:
		if err := s.state(bufio.NewReader(summed)); err != nil {
			return err
		}
	case snapshotMeta, snapshotSums, snapshotSealed:
		text, err := io.ReadAll(io.LimitReader(summed, maxSnapshotFile+1))
		switch {
		case err != nil:
			return cutOff(s.path, err)
		case len(text) > maxSnapshotFile:
			return fmt.Errorf("%s is not a snapshot of Vault: its %s has more than %d bytes", s.path, name, maxSnapshotFile)
		case name == snapshotMeta && !json.Valid(text):
			return fmt.Errorf("%s is not a snapshot of Vault: its %s is no JSON", s.path, name)
		case name == snapshotSums:
			s.stated = string(text)
		}
	default:
		return fmt.Errorf("%s is not a snapshot of Vault: it holds a file %q", s.path, name)
	}
	s.sums[name] = hex.EncodeToString(h.Sum(nil))
	return nil
}

// state reads the entries: each is its length, as a varint, and a message.
func (s *snapshotReader) state(r *bufio.Reader) error {
	for n := 1; ; n++ {
		size, err := binary.ReadUvarint(r)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err == nil && size > maxRecord:
			err = errRecord
		}
		var e *Entry
		if err == nil {
			message := make([]byte, size)
			if _, err = io.ReadFull(r, message); err == nil {
				e, err = storageEntry(message)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: entry %d of %s: %w; it is cut off or damaged, or a snapshot of Consul or Nomad, which look alike from outside", s.path, n, snapshotState, err)
		}
		if err := s.take(e); err != nil {
			return err
		}
	}
}

// storageEntry reads a StorageEntry of Vault's: field 1 is the key, field 2 the
// value.
func storageEntry(message []byte) (*Entry, error) {
	e := &Entry{Value: []byte{}}
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		message = message[n:]
		if number <= 2 {
			if kind != protowire.BytesType {
				return nil, fmt.Errorf("field %d is no text", number)
			}
			content, _ := protowire.ConsumeBytes(message)
			if number == 1 {
				e.Key = string(content)
			} else {
				e.Value = content
			}
		}
		if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
			return nil, protowire.ParseError(n)
		}
		message = message[n:]
	}
	if e.Key == "" {
		return nil, errors.New("it has no key")
	}
	return e, nil
}

// check compares the sums with those that the snapshot states.
func (s *snapshotReader) check() error {
	stated := map[string]string{}
	for line := range strings.Lines(s.stated) {
		if fields := strings.Fields(line); len(fields) == 2 {
			stated[fields[1]] = fields[0]
		}
	}
	for _, name := range []string{snapshotMeta, snapshotState} {
		got, ok := s.sums[name]
		switch {
		case !ok:
			return fmt.Errorf("%s is not a snapshot of Vault: it holds no %s", s.path, name)
		case stated[name] == "":
			return fmt.Errorf("%s: there is no checksum of %s in it, so nothing shows that it is whole", s.path, name)
		case stated[name] != got:
			return fmt.Errorf("%s is damaged: the SHA-256 of its %s is %s, and should be %s", s.path, name, got, stated[name])
		}
	}
	return nil
}

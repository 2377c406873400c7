package moving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// The formats.
const (
	VaultFile     = "vault-file"
	VaultSnapshot = "vault-raft-snapshot"
	ConsulExport  = "consul-export"
	JSON          = "json"
)

// maxRecord bounds one key with its value in a source, as it is written there, in
// bytes. The HTTP API takes values of at most 15 MiB, which are 20 MiB in base64.
const maxRecord = 32 << 20

// take gets the entries of a source one by one; an error ends the reading.
type take func(*Entry) error

// writer writes the entries of an export.
type writer interface {
	put(*Entry) error
	// end is called once, behind the last entry.
	end() error
}

type format struct {
	name string
	// read returns its own errors with the path in them, and those of take as they
	// are.
	read func(path string, take take) error
	// write is nil for what is only read.
	write func(io.Writer) writer
	// vault says that the keys are those of a Vault or OpenBao server.
	vault bool
}

var formats = []format{
	{name: VaultFile, read: readVaultFile, vault: true},
	{name: VaultSnapshot, read: readSnapshot, vault: true},
	{name: ConsulExport, read: readConsul, write: newConsulWriter},
	{name: JSON, read: readLines, write: newLineWriter},
}

// Readable are the formats that an Import reads.
func Readable() []string { return names(func(format) bool { return true }) }

// Writable are the formats that an Export writes.
func Writable() []string { return names(func(f format) bool { return f.write != nil }) }

func names(ok func(format) bool) []string {
	var all []string
	for _, f := range formats {
		if ok(f) {
			all = append(all, f.name)
		}
	}
	return all
}

func formatOf(name string) (format, error) {
	i := slices.IndexFunc(formats, func(f format) bool { return f.name == name })
	if i < 0 {
		return format{}, fmt.Errorf("there is no format %q", name)
	}
	return formats[i], nil
}

// needed is in the storage of every Vault and OpenBao that was ever initialised.
const needed = "core/keyring"

// staysBehind reports that a key of Vault's belongs to the storage that it leaves:
// who is active there, a migration under way, and halves of Raft's large messages.
// Vault's own migration leaves the first two out as well.
func staysBehind(key string) bool {
	return key == "core/lock" || key == "core/migration" || strings.HasPrefix(key, "raftchunking/")
}

// source is what is to be moved.
type source struct {
	format
	path string
	// strip is taken off each key, and prefix then put before it.
	strip, prefix string
	// leftOut gets the keys that stay behind, and why.
	leftOut func(key, why string)
}

// each reads all entries from the beginning, under the names that they are to have. It
// can be called again.
func (s *source) each(ctx context.Context, take take) error {
	if info, err := os.Stat(s.path); err != nil {
		return fmt.Errorf("look at the source: %w", err)
	} else if !info.Mode().IsRegular() && !info.IsDir() {
		return fmt.Errorf("%s is neither a file nor a directory; it is read twice, so write it to a file", s.path)
	}
	whole := !s.vault
	err := s.read(s.path, func(e *Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.left != "" {
			s.leftOut(e.Key, e.left)
			return nil
		}
		key, ok := strings.CutPrefix(e.Key, s.strip)
		if !ok {
			return fmt.Errorf("%s: key %q does not begin with %q, which is to be taken off", s.path, e.Key, s.strip)
		}
		if s.vault && staysBehind(key) {
			s.leftOut(e.Key, "it belongs to the storage that it leaves")
			return nil
		}
		whole = whole || key == needed
		e.Key = s.prefix + key
		return take(e)
	})
	if err == nil && !whole {
		return fmt.Errorf("%s has no key %q, so it is not the whole storage of a Vault", s.path, needed)
	}
	return err
}

// errRecord is what a record over maxRecord ends with.
var errRecord = errors.New("a key with its value takes more than 32 MiB")

// cutOff words the error of a source that ends too early.
func cutOff(path string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s is cut off: %w", path, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("%s: %w", path, err)
}

package moving

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// readVaultFile reads the directory of Vault's file storage: key a/b/c is the file
// a/b/_c, which holds {"Value":"..."} with the value in base64.
func readVaultFile(dir string, take take) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open the directory of Vault's file storage: %w", err)
	}
	defer root.Close() // it was only read
	return walkVault(root.FS(), dir, take)
}

// raftFile is in the directory of Vault's Raft storage.
const raftFile = "vault.db"

func walkVault(tree fs.FS, dir string, take take) error {
	if _, err := fs.Stat(tree, raftFile); err == nil {
		return fmt.Errorf("%s is the directory of Raft storage; take a snapshot with vault operator raft snapshot save, and import that as %s", dir, VaultSnapshot)
	}
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		shown := filepath.Join(dir, filepath.FromSlash(name))
		if err != nil {
			return fmt.Errorf("%s: %w", shown, err)
		}
		folder, base := path.Split(name)
		switch {
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is a link or no file, which is not followed; copy what it stands for", shown)
		case base[0] != '_':
			return fmt.Errorf("%s is not of Vault's file storage, whose files begin with an underscore; name the directory that the storage stanza has as path, and take out what is not Vault's", shown)
		}
		value, err := readVaultValue(tree, name)
		e := &Entry{Key: folder + base[1:], Value: value}
		unfinished := strings.HasSuffix(base, tempSuffix)
		switch damaged := (*json.SyntaxError)(nil); {
		case unfinished && (errors.Is(err, errNothing) || errors.As(err, &damaged)):
			e.left = "it is a write that Vault never finished"
		case errors.Is(err, errNothing):
			e.left = "its file is empty, and Vault takes that for no key"
		case err != nil:
			return fmt.Errorf("%s: %w", shown, err)
		case unfinished:
			e.doubt = "it is moved, and may be a write that Vault never finished"
		}
		return take(e)
	})
}

// tempSuffix is that of the file which Vault writes and then gives its right name. One
// that Vault left behind and the file of a key that ends so look alike when they are
// whole, and Vault's own file storage takes both for keys.
const tempSuffix = ".temp"

// errNothing stands for a file without content, which Vault takes for no key: a
// disk that was full left it.
var errNothing = errors.New("the file is empty")

func readVaultValue(tree fs.FS, name string) ([]byte, error) {
	f, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) == 0:
		return nil, errNothing
	case len(text) > maxRecord:
		return nil, errRecord
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("it is cut off, or not of Vault's file storage: %w", err)
	}
	if fields["Value"] == nil {
		return nil, errors.New("it has no Value, so it is not of Vault's file storage")
	}
	var value []byte
	if err := json.Unmarshal(fields["Value"], &value); err != nil {
		return nil, fmt.Errorf("its Value is not base64: %w", err)
	}
	return value, nil
}

package store

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// keyBuffers saves an allocation a Load.
var keyBuffers = sync.Pool{New: func() any { return new([]byte) }}

// Load returns the newest durable cell of a key, and false where there is none. The
// cell may also be a newer one that the committer has written and whose sync has not
// returned: see the package comment. The data is the caller's. A read error, or a
// cell that cannot be decoded, fails the store.
func (s *Store) Load(key string) (register.Cell, bool, error) {
	cell, ok, err := s.loadCell(key)
	if err != nil {
		return register.Cell{}, false, fmt.Errorf("store: load %q: %w", key, err)
	}
	return cell, ok, nil
}

func (s *Store) loadCell(key string) (cell register.Cell, ok bool, err error) {
	if err := s.use(); err != nil {
		return cell, false, err
	}
	defer s.release()
	l, writes := s.recent.find(key)
	if l != nil {
		cell = l.cell
		cell.Value.CloneData()
		return cell, l.ok, nil
	}
	buf := keyBuffers.Get().(*[]byte)
	defer keyBuffers.Put(buf)
	*buf = appendCellKey((*buf)[:0], key)
	ok, err = s.lookup(*buf, func(v []byte) error {
		cell, err = register.DecodeCell(v)
		cell.Value.CloneData()
		return err
	})
	if err == nil {
		s.recent.learn(key, recentLoad{cell, ok}, writes)
	}
	return cell, ok, err
}

// lookup reads a row; the slice is valid until read returns. A failure of the
// disk, or of read, fails the store. The caller holds usable.
func (s *Store) lookup(key []byte, read func(value []byte) error) (bool, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, s.disk.err() // a frozen disk may have lost it
	}
	if err == nil {
		err = errors.Join(read(v), closer.Close())
	}
	if err != nil {
		s.disk.fail(fmt.Errorf("read %q: %w", key[1:], err))
	}
	return err == nil, s.disk.err()
}

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Two indexes say which cells concern a session, and which do not last for ever.
// Their rows are written with the cell, in the same batch, so that none is ever
// missing. A row stays when its cell changes: one that no longer tells the truth
// is stale, and is removed when it is met. That is left to the committer, which
// looks once more: between two of its batches no cell changes.

// indexVersion is what the rows of the indexes are made by; a store whose rows were
// made by another rule, or by none, makes them anew when it is opened.
const indexVersion = 1

// rebuildBytes is about how much one batch of a rebuild writes.
const rebuildBytes = 4 << 20

// maxStale bounds the stale rows that one page of a scan has removed, as the
// committer looks at each.
const maxStale = 256

var indexKey = []byte{tableIndex}

// appendHeldPrefix begins the rows of a session: its length, and its name.
func appendHeldPrefix(dst []byte, session string) []byte {
	dst = binary.AppendUvarint(append(dst, tableHeld), uint64(len(session)))
	return append(dst, session...)
}

// decodeHeld is the inverse of appendHeldPrefix, with the key behind it.
func decodeHeld(row []byte) (h Held, err error) {
	n, size := binary.Uvarint(row[1:])
	if size <= 0 || n > uint64(len(row)-1-size) {
		return h, fmt.Errorf("%w: a row of %d bytes names no session", errDamaged, len(row))
	}
	rest := row[1+size:]
	return Held{Session: string(rest[:n]), Key: string(rest[n:])}, nil
}

// index adds the rows of a cell to a batch.
func index(b *pebble.Batch, key string, v *register.Value) error {
	now, then := v.Names()
	for _, session := range [...]string{now, then} {
		if session == "" {
			continue
		}
		if err := b.Set(append(appendHeldPrefix(nil, session), key...), nil, nil); err != nil {
			return err
		}
	}
	if v.Expires == 0 {
		return nil
	}
	return b.Set(append([]byte{tableExpiring}, key...), nil, nil)
}

// isStale reports whether the cell of an index's row no longer is what the row says,
// going by what the committer has written. The caller holds usable.
func (s *Store) isStale(row []byte) (stale bool, err error) {
	key, session := row[1:], ""
	if row[0] == tableHeld {
		h, err := decodeHeld(row)
		if err != nil {
			return false, err
		}
		key, session = []byte(h.Key), h.Session
	}
	stale = true
	_, err = s.lookup(append([]byte{tableCell}, key...), func(b []byte) error {
		c, err := register.DecodeCell(b)
		if row[0] == tableHeld {
			now, then := c.Value.Names()
			stale = now != session && then != session
		} else {
			stale = c.Value.Expires == 0
		}
		return err
	})
	return stale, err
}

// prune removes those of the rows that are stale. Only the committer calls it, for
// a batch that has nothing yet: what the batch then writes counts.
func (s *Store) prune(b *pebble.Batch, rows [][]byte) error {
	for _, row := range rows {
		stale, err := s.isStale(row)
		if err == nil && stale {
			err = b.Delete(row, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pruneLater has stale rows removed. It may be that nothing comes of it.
func (s *Store) pruneLater(rows [][]byte) {
	if len(rows) == 0 {
		return
	}
	r := request{stale: rows, done: func(uint64, error) {}}
	for _, row := range rows {
		r.bytes += len(row)
	}
	q := &s.commits
	q.mu.Lock()
	if !q.closed {
		q.requests = append(q.requests, r)
		q.bytes += r.bytes
	}
	q.mu.Unlock()
	q.wake.Signal()
}

// loadIndex makes the indexes anew unless they are known to be whole: written by
// this rule throughout, up to the boot before this one. A build that knew of none
// counted its boots all the same.
func (s *Store) loadIndex(ready bool) error {
	if !ready {
		return nil
	}
	b, closer, err := s.db.Get(indexKey)
	if err == nil {
		whole := bytes.Equal(b, encodeIndex(s.identity.Boot))
		if err = closer.Close(); err == nil && whole {
			return nil
		}
	}
	if err != nil && !errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("read the indexes: %w", err)
	}
	if err := s.rebuild(); err != nil {
		return fmt.Errorf("make the indexes: %w", err)
	}
	return nil
}

// encodeIndex says that the indexes are whole as of a boot.
func encodeIndex(boot uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{rowVersion, indexVersion}, boot)
}

// rebuild writes the rows of all cells.
func (s *Store) rebuild() error {
	s.log.Info("the indexes of sessions and lifetimes are made anew")
	b := s.db.NewBatch()
	err := s.rows(tableCell, func(key, value []byte) error {
		c, err := register.DecodeCell(value)
		if err != nil {
			return err
		}
		if err := index(b, string(key), &c.Value); err != nil {
			return err
		}
		if b.Len() < rebuildBytes {
			return nil
		}
		full := b
		b = s.db.NewBatch()
		return s.apply(full)
	})
	if err != nil {
		return errors.Join(err, b.Close())
	}
	return s.apply(b)
}

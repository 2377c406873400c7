package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// marks holds the mark of each shard. Marks never go back: one bounds what was
// promised, and nothing makes a promise undone.
type marks struct {
	mu      sync.Mutex
	durable []register.Mark
	written []register.Mark // the committer's: with the batch under way
}

func (m *marks) get(shard int) register.Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.durable[shard]
}

// raise takes a mark into the batch under way and returns what to write; false
// where the shard's mark is not below it. Only the committer calls it.
func (m *marks) raise(shard int, mark register.Mark) (register.Mark, bool) {
	if mark.HighWater <= m.written[shard].HighWater {
		return register.Mark{}, false
	}
	m.written[shard] = mark
	return mark, true
}

// publish says that the batch under way is durable.
func (m *marks) publish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(m.durable, m.written)
}

// loadMarks reads the marks of all shards.
func (s *Store) loadMarks() error {
	m := &s.marks
	m.durable = make([]register.Mark, s.Shards())
	m.written = make([]register.Mark, s.Shards())
	err := s.rows(tableMark, func(key, value []byte) error {
		if len(key) != 2 || int(binary.BigEndian.Uint16(key)) >= s.Shards() {
			return fmt.Errorf("a mark of shard %x; there are %d", key, s.Shards())
		}
		mark, err := decodeMark(value)
		m.written[binary.BigEndian.Uint16(key)] = mark
		return err
	})
	m.publish()
	return err
}

// rows calls f with each row of a table, in key order and without the table's
// byte; the slices are valid until f returns. What f refuses is damage.
func (s *Store) rows(table byte, f func(key, value []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{table}, UpperBound: []byte{table + 1}})
	if err != nil {
		return fmt.Errorf("read table %q: %w", table, err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err != nil {
			break
		}
		if e := f(it.Key()[1:], value); e != nil {
			err = fmt.Errorf("%w: %w", errDamaged, e)
		}
	}
	if err = errors.Join(err, it.Close()); err != nil {
		return fmt.Errorf("read table %q: %w", table, err)
	}
	return nil
}

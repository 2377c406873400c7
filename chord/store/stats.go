package store

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Stats is what a store holds.
type Stats struct {
	// Cells is an estimate of the cells, tombstones and internal keys included.
	// It is the number of entries in Pebble's tables, less two for each deletion,
	// and the cells that were written since the last flush began. A key that was
	// written again counts again until a flush or a compaction has merged the two,
	// so it is rather too high.
	Cells uint64
	// DiskBytes is what the database takes on the disk.
	DiskBytes uint64
}

// Stats counts. It reads the properties of each table, so it is not for a hot
// path. It fails as Load does.
func (s *Store) Stats() (Stats, error) {
	if err := s.use(); err != nil {
		return Stats{}, fmt.Errorf("store: stats: %w", err)
	}
	defer s.release()
	st := Stats{Cells: s.unflushed.Load(), DiskBytes: s.db.Metrics().DiskSpaceUsage()}
	levels, err := s.db.SSTables(pebble.WithProperties())
	if err != nil {
		s.disk.fail(fmt.Errorf("read the properties of the tables: %w", err))
		return Stats{}, fmt.Errorf("store: stats: %w", s.disk.err())
	}
	for _, tables := range levels {
		for _, t := range tables {
			if p := t.Properties; p.NumEntries > 2*p.NumDeletions {
				st.Cells += p.NumEntries - 2*p.NumDeletions
			}
		}
	}
	return st, nil
}

// measure counts a batch.
func (s *Store) measure(took time.Duration, writes, bytes int) {
	if m := s.opts.Metrics; m != nil {
		m.AddSample([]string{"store", "commit", "ms"}, float32(took.Seconds()*1000))
		m.AddSample([]string{"store", "commit", "writes"}, float32(writes))
		m.IncrCounter([]string{"store", "bytes"}, float32(bytes))
	}
}

// count adds to a counter.
func (s *Store) count(name string, n float32) {
	if m := s.opts.Metrics; m != nil {
		m.IncrCounter([]string{"store", name}, n)
	}
}

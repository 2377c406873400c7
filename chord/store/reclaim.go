package store

import (
	"context"
	"fmt"
)

// Reclaim gives the disk back what dropped cells took: Pebble does so by itself
// only when more is written. It rewrites the tables that hold cells, in the
// background of reads and writes, and returns when that is done.
func (s *Store) Reclaim(ctx context.Context) error {
	if err := s.use(); err != nil {
		return fmt.Errorf("store: reclaim: %w", err)
	}
	defer s.release()
	err := s.db.Flush() // the deletions may be in memory still
	if err == nil {
		lower, upper := cellBounds("", "", true)
		err = s.db.Compact(ctx, lower, upper, false)
	}
	if err != nil && ctx.Err() == nil {
		s.disk.fail(fmt.Errorf("compact: %w", err))
	}
	if err != nil {
		return fmt.Errorf("store: reclaim: %w", err)
	}
	return s.disk.err()
}

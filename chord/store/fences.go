package store

import (
	"fmt"
	"maps"
	"sync"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// fences is the member's table of fences, as it is durable.
type fences struct {
	keep sync.Mutex // held by KeepFences throughout

	mu    sync.Mutex
	known register.Fences
}

func fenceKey(lock string) []byte { return append([]byte{tableFence}, lock...) }

// loadFences reads the table.
func (s *Store) loadFences() error {
	s.fences.known = register.Fences{}
	return s.rows(tableFence, func(key, value []byte) error {
		e, err := register.DecodeFenceEntry(value)
		if err == nil && e.Key != string(key) {
			err = fmt.Errorf("the fence of lock %q in the row of %q", e.Key, key)
		}
		if err == nil {
			s.fences.known.Learn(&e)
		}
		return err
	})
}

// Fences returns the table of fences, by lock.
func (s *Store) Fences() []register.FenceEntry {
	f := &s.fences
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known.Entries()
}

// KeepFences merges entries into the table of fences. They are durable when it
// returns nil. The table has at most register.MaxFences locks.
func (s *Store) KeepFences(entries []register.FenceEntry) error {
	f := &s.fences
	f.keep.Lock()
	defer f.keep.Unlock()
	f.mu.Lock()
	next := maps.Clone(f.known)
	f.mu.Unlock()
	changed := map[string]bool{}
	for i := range entries {
		if next.Learn(&entries[i]) {
			changed[entries[i].Key] = true
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := s.keepFences(next, changed); err != nil {
		return fmt.Errorf("store: keep fences: %w", err)
	}
	f.mu.Lock()
	f.known = next
	f.mu.Unlock()
	return nil
}

func (s *Store) keepFences(next register.Fences, changed map[string]bool) error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.release()
	batch := s.db.NewBatch()
	for lock := range changed {
		e := next[lock]
		if err := batch.Set(fenceKey(lock), register.AppendFenceEntry(nil, &e), nil); err != nil {
			return err
		}
	}
	return s.apply(batch)
}

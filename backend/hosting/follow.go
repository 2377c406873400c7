package hosting

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// followPause is the least time between two readings of the whole storage.
const followPause = time.Second

// Follow calls changed with the keys that were changed, created or deleted, by
// whomever, some time after; it misses none, and may name one for nothing. It returns
// once it has read the storage for the first time, which it tries until the store is
// closed, and then goes on until that. It keeps the names of all keys in memory, and
// reads the whole storage after a change, since a watch does not say which key it was.
func (s *Store) Follow(changed func(keys ...string)) {
	after, seen := s.next(0)
	s.running.Go(func() {
		for s.life.Err() == nil {
			index, now := s.next(after)
			if keys := differences(seen, now); s.life.Err() == nil && len(keys) > 0 {
				changed(keys...)
			}
			after, seen = index, now
		}
	})
}

// next does what look does, until that succeeds or the store is closed. It takes
// followPause at least.
func (s *Store) next(after uint64) (index uint64, now map[string]uint64) {
	for {
		pause := time.NewTimer(followPause)
		index, now, err := s.look(after)
		if err != nil && s.life.Err() == nil && backend.CodeOf(err) != backend.NoQuorum { // which is that nothing changes
			s.log.Warn("the storage does not say what changed; asking again", "error", err)
		}
		if after > 0 || err != nil {
			select {
			case <-pause.C:
			case <-s.life.Done():
			}
		}
		pause.Stop()
		if err == nil || s.life.Err() != nil {
			return index, now
		}
	}
}

// look waits for a change after the index and returns the next, with the modify index
// of every key.
func (s *Store) look(after uint64) (index uint64, now map[string]uint64, err error) {
	ctx, cancel := s.bounded(s.life)
	defer cancel()
	b, err := s.backend(ctx, "", nil)
	if err != nil {
		return 0, nil, err
	}
	watcher, ok := b.(backend.Watcher)
	if !ok {
		return 0, nil, backend.Errorf(backend.Invalid, "", "the storage has no watches")
	}
	if index, err = watcher.Watch(ctx, backend.WatchQuery{After: after}); err != nil {
		return 0, nil, err
	}
	ctx, cancel = context.WithTimeout(s.life, s.stanza.timeout)
	defer cancel()
	now = map[string]uint64{}
	for e, err := range backend.Items(ctx, b, "") {
		if err != nil {
			return 0, nil, err
		}
		now[e.Key] = e.ModifyIndex
	}
	return index, now, nil
}

// differences are the keys that are not the same in both, sorted.
func differences(old, now map[string]uint64) []string {
	different := map[string]bool{}
	for key, index := range now {
		if old[key] != index {
			different[key] = true
		}
	}
	for key := range old {
		if _, ok := now[key]; !ok {
			different[key] = true
		}
	}
	return slices.Sorted(maps.Keys(different))
}

package memory

import (
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// maxDeleted is how many deleted keys a store remembers for those who watch.
const maxDeleted = 4096

// written returns what a plain write makes of old, which may be nil. Its indexes
// come with install.
func written(old *backend.Entry, key string, value []byte, flags uint64, expiresAfter time.Duration) *backend.Entry {
	e := &backend.Entry{Key: key, Value: value, Flags: flags, ExpiresAfter: expiresAfter}
	if old != nil {
		e.CreateIndex, e.Session, e.LockIndex, e.LockToken = old.CreateIndex, old.Session, old.LockIndex, old.LockToken
	}
	return e
}

// room returns an error unless n more changes can have an index. The caller
// holds mu for writing.
func (s *Store) room(key string, n int) error {
	if s.index+uint64(n) > maxIndex {
		return backend.Errorf(backend.Internal, key, "all %d indexes have been used; start with a new store", uint64(maxIndex))
	}
	return nil
}

// install makes e what is at key, or removes key, which must be there, when e is
// nil; and does all that follows: whoever holds the key no longer learns it before
// anybody can see it, and whoever watches is woken. It returns the index of the
// change. The caller holds mu for writing and has asked room.
func (s *Store) install(key string, e *backend.Entry) uint64 {
	s.index++
	old := s.entries[key]
	if e == nil {
		delete(s.entries, key)
		s.keys = s.keys.without(key)
		s.remember(key, s.index)
	} else {
		e.ModifyIndex = s.index
		if old == nil {
			e.CreateIndex = s.index
			s.keys = s.keys.with(key)
			delete(s.deleted, key)
			s.deletedKeys = s.deletedKeys.without(key)
		}
		if e.Session != "" && e.LockToken == 0 {
			e.LockToken = s.index
		}
		s.entries[key] = e
	}
	index := s.index
	s.expire(key, e)
	s.hold(key, old, e)
	s.waiters.wake(key)
	return index
}

// expire sets the end of a key that was just changed.
func (s *Store) expire(key string, e *backend.Entry) {
	s.cancel(s.expiries[key])
	delete(s.expiries, key)
	if e == nil || e.ExpiresAfter == 0 {
		return
	}
	s.expiries[key] = s.after(e.ExpiresAfter, func() {
		if s.room(key, 1) == nil {
			s.install(key, nil)
		}
	})
}

// hold keeps the sessions' keys and the handles of locks in step with a change of
// key from old to e.
func (s *Store) hold(key string, old, e *backend.Entry) {
	var was, is backend.Entry
	if old != nil {
		was = *old
	}
	if e != nil {
		is = *e
	}
	if was.LockToken == is.LockToken {
		return
	}
	if holder := s.sessions[was.Session]; holder != nil {
		delete(holder.keys, key)
	}
	if holder := s.sessions[is.Session]; holder != nil {
		holder.keys[key] = struct{}{}
	}
	held := s.handles[key]
	delete(s.handles, key)
	for l := range held {
		close(l.lost)
		if l.own {
			s.end(l.session)
		}
	}
}

// remember notes that key was deleted at index. When there are too many, the
// older half is forgotten.
func (s *Store) remember(key string, index uint64) {
	if len(s.deleted) == maxDeleted {
		indexes := make([]uint64, 0, maxDeleted)
		for _, index := range s.deleted {
			indexes = append(indexes, index)
		}
		slices.Sort(indexes)
		s.forgotten = indexes[maxDeleted/2-1]
		kept := s.deletedKeys[:0]
		for _, key := range s.deletedKeys {
			if s.deleted[key] <= s.forgotten {
				delete(s.deleted, key)
			} else {
				kept = append(kept, key)
			}
		}
		clear(s.deletedKeys[len(kept):])
		s.deletedKeys = kept
	}
	s.deleted[key] = index
	s.deletedKeys = s.deletedKeys.with(key)
}

// keyset is keys in byte order.
type keyset []string

func (k keyset) with(key string) keyset {
	if i, found := slices.BinarySearch(k, key); !found {
		k = slices.Insert(k, i, key)
	}
	return k
}

func (k keyset) without(key string) keyset {
	if i, found := slices.BinarySearch(k, key); found {
		k = slices.Delete(k, i, i+1)
	}
	return k
}

// from returns the keys of k that are not below key.
func (k keyset) from(key string) keyset {
	i, _ := slices.BinarySearch(k, key)
	return k[i:]
}

// under yields the keys of k that begin with prefix.
func (k keyset) under(prefix string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, key := range k.from(prefix) {
			if !strings.HasPrefix(key, prefix) || !yield(key) {
				return
			}
		}
	}
}

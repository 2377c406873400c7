// Package memory is the contract of package backend in one process and in
// memory. It is the reference that the other backends are compared with, and
// the double that hosts test against. Nothing is durable.
package memory

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/chord-plugin/chord-plugin/backend"
)

// maxIndex is the largest modify index: the contract promises 53 bits.
const maxIndex = 1<<53 - 1

// Store is a backend.Backend in memory. It holds what its callers store and
// nothing beyond that: a deleted key leaves no trace but the index. Make one
// with New.
type Store struct {
	limits backend.Limits

	mu     sync.RWMutex
	closed bool
	// index is the newest modify index given out, over all keys, so that no
	// key's index restarts when the key is deleted.
	index uint64
	// deleted is the index of the newest delete of any key.
	deleted uint64
	entries map[string]*backend.Entry
	// keys are the keys of entries in byte order.
	keys []string
}

var _ backend.Backend = (*Store)(nil)

// New returns an empty store with the given limits. Both limits must be
// positive; backend.DefaultLimits gives those of the ring.
func New(limits backend.Limits) *Store {
	return &Store{limits: limits, entries: make(map[string]*backend.Entry)}
}

// Get returns a copy of the entry of key, or nil. There is one copy of the data,
// so a stale read is a linearizable one.
func (s *Store) Get(ctx context.Context, key string, _ backend.GetOptions) (*backend.Entry, error) {
	if err := s.checkKey(ctx, key); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(key); err != nil {
		return nil, err
	}
	return s.entries[key].Clone(), nil
}

// Put stores a copy of value at key and returns the index of the change.
func (s *Store) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	if err := s.checkKey(ctx, key); err != nil {
		return 0, err
	}
	if err := s.limits.CheckValue(key, value); err != nil {
		return 0, err
	}
	value = bytes.Clone(value)

	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.change(key, opts.If)
	if err != nil {
		return 0, err
	}
	index, err := s.next(key)
	if err != nil {
		return 0, err
	}
	e := &backend.Entry{Key: key, Value: value, Flags: opts.Flags, CreateIndex: index, ModifyIndex: index}
	if old != nil {
		e.CreateIndex = old.CreateIndex
	} else {
		i, _ := slices.BinarySearch(s.keys, key)
		s.keys = slices.Insert(s.keys, i, key)
	}
	s.entries[key] = e
	return index, nil
}

// Delete removes key.
func (s *Store) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	if err := s.checkKey(ctx, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.change(key, opts.If)
	if err != nil || old == nil {
		return err
	}
	return s.remove(key)
}

// Pop removes key and returns what it held, or nil.
func (s *Store) Pop(ctx context.Context, key string) (*backend.Entry, error) {
	if err := s.checkKey(ctx, key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.change(key, backend.Condition{})
	if err != nil || old == nil {
		return nil, err
	}
	if err := s.remove(key); err != nil {
		return nil, err
	}
	return old, nil
}

// PopItem pops the last key in byte order, the cheapest one to remove.
func (s *Store) PopItem(ctx context.Context) (*backend.Entry, error) {
	if err := checkContext(ctx, ""); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(""); err != nil {
		return nil, err
	}
	if len(s.keys) == 0 {
		return nil, nil
	}
	key := s.keys[len(s.keys)-1]
	old := s.entries[key]
	if err := s.remove(key); err != nil {
		return nil, err
	}
	return old, nil
}

// Limits returns the limits given to New.
func (s *Store) Limits() backend.Limits { return s.limits }

// Close drops the data. Later calls fail with Closed; closing again does not.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.entries, s.keys = true, nil, nil
	return nil
}

// change returns the entry of key, which may be nil, if the store is open and
// the condition holds. The caller holds mu for writing.
func (s *Store) change(key string, cond backend.Condition) (*backend.Entry, error) {
	if err := s.checkOpen(key); err != nil {
		return nil, err
	}
	old := s.entries[key]
	var index uint64
	if old != nil {
		index = old.ModifyIndex
	}
	if !cond.Holds(index) {
		want, _ := cond.Index()
		return nil, backend.Errorf(backend.Conflict, key, "the modify index is %d and should be %d; read the key and try again", index, want)
	}
	return old, nil
}

// remove takes out a key that is there. The caller holds mu for writing.
func (s *Store) remove(key string) error {
	index, err := s.next(key)
	if err != nil {
		return err
	}
	i, _ := slices.BinarySearch(s.keys, key)
	s.keys = slices.Delete(s.keys, i, i+1)
	delete(s.entries, key)
	s.deleted = index
	return nil
}

// next gives out an index for a change of key. The caller holds mu for writing.
func (s *Store) next(key string) (uint64, error) {
	if s.index >= maxIndex {
		return 0, backend.Errorf(backend.Internal, key, "all %d indexes have been used; start with a new store", uint64(maxIndex))
	}
	s.index++
	return s.index, nil
}

// checkKey returns an error unless a call for key may start.
func (s *Store) checkKey(ctx context.Context, key string) error {
	if err := s.limits.CheckKey(key); err != nil {
		return err
	}
	return checkContext(ctx, key)
}

// checkOpen returns a Closed error after Close. The caller holds mu.
func (s *Store) checkOpen(key string) error {
	if s.closed {
		return backend.Errorf(backend.Closed, key, "the memory store was closed; open a new one")
	}
	return nil
}

// checkContext returns a NoQuorum error when ctx is done. Calls do not block
// once they have begun, so this is the only place where they end early.
func checkContext(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return backend.Errorf(backend.NoQuorum, key, "the call was over before it began and changed nothing: %w", err)
	}
	return nil
}

// Package memory is the contract of package backend in one process and in
// memory. It is the reference that the other backends are compared with, and
// the double that hosts test against. Nothing is durable.
package memory

import (
	"bytes"
	"context"
	"sync"

	"github.com/chord-plugin/chord-plugin/backend"
)

// maxIndex is the largest modify index: the contract promises 53 bits.
const maxIndex = 1<<53 - 1

// noIndex is what Watch says of what was never there. No change has it.
const noIndex = 1

// Store is a backend.Backend in memory with all capabilities. It holds what its
// callers store and little beyond that: of deleted keys it remembers the newest
// maxDeleted. Make one with New.
//
// Entries are never changed in place, so one that was read under mu may be copied
// later.
type Store struct {
	limits backend.Limits
	clock  Clock

	mu     sync.RWMutex
	closed bool
	// done is closed by Close.
	done chan struct{}
	// index is the newest modify index given out, over all keys, so that no
	// key's index restarts when the key is deleted. It begins at noIndex.
	index   uint64
	entries map[string]*backend.Entry
	// keys are the keys of entries.
	keys keyset
	// deleted are the indexes of the newest deletions of keys that are not there,
	// and deletedKeys their keys; forgotten is the newest index that is no longer
	// among them.
	deleted     map[string]uint64
	deletedKeys keyset
	forgotten   uint64
	// expiries are the ends of the keys that have a lifetime.
	expiries map[string]*alarm

	sessions map[string]*session
	// delays are the keys that can not be locked yet.
	delays map[string]*alarm
	// handles are the locks that are held, by key.
	handles map[string]map[*lock]struct{}
	fences  map[string]uint64
	waiters waiters

	// alarms are the callbacks of clock that are still to come, and ringing waits
	// for those under way.
	alarms  map[*alarm]struct{}
	ringing sync.WaitGroup
}

var (
	_ backend.Backend       = (*Store)(nil)
	_ backend.Transactional = (*Store)(nil)
	_ backend.Watcher       = (*Store)(nil)
	_ backend.Sessions      = (*Store)(nil)
	_ backend.Locker        = (*Store)(nil)
	_ backend.Fencer        = (*Store)(nil)
	_ backend.Describer     = (*Store)(nil)
)

// New returns an empty store with the given limits, in the machine's time. Both
// limits must be positive; backend.DefaultLimits gives those of the ring.
func New(limits backend.Limits) *Store { return NewWithClock(limits, machineClock{}) }

// NewWithClock returns an empty store whose sessions and keys expire by clock.
func NewWithClock(limits backend.Limits, clock Clock) *Store {
	return &Store{
		limits: limits, clock: clock, done: make(chan struct{}), index: noIndex,
		entries: map[string]*backend.Entry{}, deleted: map[string]uint64{}, expiries: map[string]*alarm{},
		sessions: map[string]*session{}, delays: map[string]*alarm{}, handles: map[string]map[*lock]struct{}{},
		fences: map[string]uint64{}, alarms: map[*alarm]struct{}{},
		waiters: waiters{keys: map[string]map[*waiter]struct{}{}, prefixes: map[*waiter]string{}},
	}
}

// Capabilities returns all of them.
func (s *Store) Capabilities() backend.Capability { return backend.AllCapabilities }

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
	if err := s.limits.CheckPut(key, value, opts); err != nil {
		return 0, err
	}
	if err := checkContext(ctx, key); err != nil {
		return 0, err
	}
	value = bytes.Clone(value)

	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.change(key, opts.If, opts.Fence)
	if err != nil {
		return 0, err
	}
	if err := s.room(key, 1); err != nil {
		return 0, err
	}
	return s.install(key, written(old, key, value, opts.Flags, opts.ExpiresAfter)), nil
}

// Delete removes key.
func (s *Store) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	if err := s.limits.CheckDelete(key, opts); err != nil {
		return err
	}
	if err := checkContext(ctx, key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.change(key, opts.If, opts.Fence)
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
	old, err := s.change(key, backend.Condition{}, backend.Fence{})
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

// Close drops the data, ends the calls that wait and closes every Lost channel.
// Later calls fail with Closed; closing again does not.
func (s *Store) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
		for _, held := range s.handles {
			for l := range held {
				close(l.lost)
			}
		}
		for a := range s.alarms {
			s.cancel(a)
		}
		s.entries, s.keys, s.deleted, s.deletedKeys = nil, nil, nil, nil
		s.sessions, s.handles, s.fences, s.expiries, s.delays = nil, nil, nil, nil, nil
	}
	s.mu.Unlock()
	s.ringing.Wait()
	return nil
}

// change returns the entry of key, which may be nil, if the store is open and
// the condition and the fence allow a change. The caller holds mu for writing.
func (s *Store) change(key string, cond backend.Condition, fence backend.Fence) (*backend.Entry, error) {
	if err := s.checkOpen(key); err != nil {
		return nil, err
	}
	if err := s.checkFence(key, fence); err != nil {
		return nil, err
	}
	old := s.entries[key]
	if !cond.Holds(indexOf(old)) {
		want, _ := cond.Index()
		return nil, backend.Errorf(backend.Conflict, key, "the modify index is %d and should be %d; read the key and try again", indexOf(old), want)
	}
	return old, nil
}

// remove takes out a key that is there. The caller holds mu for writing.
func (s *Store) remove(key string) error {
	if err := s.room(key, 1); err != nil {
		return err
	}
	s.install(key, nil)
	return nil
}

// indexOf returns the modify index of e, and 0 for a key that is not there.
func indexOf(e *backend.Entry) uint64 {
	if e == nil {
		return 0
	}
	return e.ModifyIndex
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

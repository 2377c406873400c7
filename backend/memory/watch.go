package memory

import (
	"context"
	"strings"

	"github.com/chord-plugin/chord-plugin/backend"
)

// maxWaiters is how many calls may wait at once.
const maxWaiters = 100_000

// Watch waits for a change; see backend.Watcher.
func (s *Store) Watch(ctx context.Context, q backend.WatchQuery) (uint64, error) {
	if err := s.limits.CheckWatch(q); err != nil {
		return 0, err
	}
	for {
		if err := checkContext(ctx, q.Key); err != nil {
			return 0, err
		}
		index, w, err := s.look(q)
		if err != nil || index != q.After {
			return index, err
		}
		s.wait(ctx, w)
	}
}

// look returns the index of what q watches and, if it is q.After, a waiter for the
// next change.
func (s *Store) look(q backend.WatchQuery) (uint64, *waiter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(q.Key); err != nil {
		return 0, nil, err
	}
	index := max(noIndex, s.forgotten)
	if q.Key != "" {
		if e := s.entries[q.Key]; e != nil {
			index = e.ModifyIndex
		} else {
			index = max(index, s.deleted[q.Key])
		}
	} else {
		for key := range s.keys.under(q.Prefix) {
			index = max(index, s.entries[key].ModifyIndex)
		}
		for key := range s.deletedKeys.under(q.Prefix) {
			index = max(index, s.deleted[key])
		}
	}
	if index != q.After {
		return index, nil, nil
	}
	var w *waiter
	var err error
	if q.Key != "" {
		w, err = s.waiters.forKeys(q.Key)
	} else {
		w, err = s.waiters.forPrefix(q.Prefix)
	}
	return index, w, err
}

// wait waits until w is woken, ctx ends or the store is closed.
func (s *Store) wait(ctx context.Context, w *waiter) {
	select {
	case <-w.woken:
		return
	case <-ctx.Done():
	case <-s.done:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiters.remove(w)
}

// A waiter is a call that waits for a change. It is woken once.
type waiter struct {
	woken chan struct{}
	keys  []string
}

// waiters are the calls that wait. The store's mu guards them.
type waiters struct {
	keys     map[string]map[*waiter]struct{}
	prefixes map[*waiter]string
	count    int
}

// forKeys returns a waiter for a change of one of keys.
func (ws *waiters) forKeys(keys ...string) (*waiter, error) {
	w, err := ws.add(keys)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if ws.keys[key] == nil {
			ws.keys[key] = map[*waiter]struct{}{}
		}
		ws.keys[key][w] = struct{}{}
	}
	return w, nil
}

// forPrefix returns a waiter for a change of any key that begins with prefix.
func (ws *waiters) forPrefix(prefix string) (*waiter, error) {
	w, err := ws.add(nil)
	if err != nil {
		return nil, err
	}
	ws.prefixes[w] = prefix
	return w, nil
}

func (ws *waiters) add(keys []string) (*waiter, error) {
	if ws.count == maxWaiters {
		return nil, backend.Errorf(backend.NotReady, "", "%d calls are waiting for changes, which is the limit; try again later", maxWaiters)
	}
	ws.count++
	return &waiter{woken: make(chan struct{}), keys: keys}, nil
}

// remove forgets w unless it was woken.
func (ws *waiters) remove(w *waiter) {
	select {
	case <-w.woken:
		return
	default:
	}
	ws.count--
	delete(ws.prefixes, w)
	for _, key := range w.keys {
		delete(ws.keys[key], w)
		if len(ws.keys[key]) == 0 {
			delete(ws.keys, key)
		}
	}
}

// wake wakes whoever waits for key.
func (ws *waiters) wake(key string) {
	for w := range ws.keys[key] {
		ws.remove(w)
		close(w.woken)
	}
	for w, prefix := range ws.prefixes {
		if strings.HasPrefix(key, prefix) {
			ws.remove(w)
			close(w.woken)
		}
	}
}

package memory

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Fence refuses the writes of former holders from now on.
func (s *Store) Fence(ctx context.Context, f backend.Fence) error {
	if err := s.limits.CheckKey(f.Key); err != nil {
		return err
	}
	if err := s.limits.CheckFence(f.Key, f); err != nil {
		return err
	}
	if err := checkContext(ctx, f.Key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(f.Key); err != nil {
		return err
	}
	if err := s.checkFence(f.Key, f); err != nil {
		return err
	}
	if e := s.entries[f.Key]; e == nil || e.LockToken != f.Token {
		return backend.Errorf(backend.LockLost, f.Key, "token %d does not hold the lock; take it again", f.Token)
	}
	if _, known := s.fences[f.Key]; !known && len(s.fences) == backend.MaxFences {
		return backend.Errorf(backend.TooLarge, f.Key, "there are fences for %d locks, which is the limit; use fewer locks for fencing", backend.MaxFences)
	}
	s.fences[f.Key] = f.Token
	return nil
}

// checkFence returns a Fenced error if a write of key may not happen. The caller
// holds mu.
func (s *Store) checkFence(key string, f backend.Fence) error {
	if newest := s.fences[f.Key]; f.Token < newest {
		return backend.Errorf(backend.Fenced, key, "token %d of lock %q is outdated: the present holder's is %d; stop writing", f.Token, f.Key, newest)
	}
	return nil
}

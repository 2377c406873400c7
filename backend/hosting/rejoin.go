package hosting

import (
	"context"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// rejoined waits until a plugin that was started again knows its ring. It returns an
// error, and remembers that, if it is not the one that the host's data is in.
func (s *Store) rejoined(c *plugin.Client) error {
	s.mu.Lock()
	ring := s.ring
	s.mu.Unlock()
	for ring != "" {
		ctx, cancel := s.bounded(s.life)
		status, err := c.Status(ctx)
		cancel()
		switch {
		case err != nil:
			return err
		case status.RingID == ring:
			return nil
		case status.RingID != "":
			s.mu.Lock()
			defer s.mu.Unlock()
			s.other = status.RingID
			close(s.changed)
			s.changed = make(chan struct{})
			err = s.isOther("")
			s.log.Error("the storage is not used any more", "error", err)
			return err
		}
		again := time.NewTimer(ringPause)
		select {
		case <-again.C:
		case <-c.Done():
		case <-s.life.Done():
		}
		again.Stop()
	}
	return nil
}

// isOther is the error of every call once the plugin was in another ring. The caller
// holds mu.
func (s *Store) isOther(key string) error {
	return backend.Errorf(backend.Closed, key, "the storage plugin has died, and the next one is in the ring %s and not in %s, where the data of this host is; a ring in memory is lost, and of any other data_dir and seeds tell what is wrong: mend them and start the host again", s.other, s.ring)
}

// learn notes which ring b is in, before the host counts on what it did there. Of many
// callers one asks.
func (s *Store) learn(ctx context.Context, key string, b backend.Backend) error {
	if s.sure.Load() {
		return nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	select {
	case s.learning <- struct{}{}:
		defer func() { <-s.learning }()
	case <-ctx.Done():
		return backend.Errorf(backend.UnknownOutcome, key, "it was done in a ring that is not known yet, and the next plugin may be in another: %w", ctx.Err())
	}
	if s.sure.Load() {
		return nil
	}
	status, err := b.(backend.Admin).Status(ctx)
	if err != nil {
		return backend.Errorf(backend.UnknownOutcome, key, "the storage plugin no longer said which ring it is in, and the next one may be in another: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case status.RingID == "", status.RingID == s.ring:
	case s.now == b && s.ring == "":
		s.ring = status.RingID
		s.sure.Store(true)
	default:
		return backend.Errorf(backend.UnknownOutcome, key, "the storage plugin died before it was known that it is in the ring %s", status.RingID)
	}
	return nil
}

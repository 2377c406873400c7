package memory

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"

	"github.com/chord-plugin/chord-plugin/backend"
)

// maxSessions is how many sessions may live at once.
const maxSessions = 100_000

// A session is a live session.
type session struct {
	backend.Session
	// kept tells that a lock of this store renews it, so that it does not expire.
	kept bool
	// keys are the keys that it holds.
	keys map[string]struct{}
	// expiry is its end, or nil.
	expiry *alarm
}

// CreateSession begins a session.
func (s *Store) CreateSession(ctx context.Context, opts backend.SessionOptions) (*backend.Session, error) {
	if err := backend.CheckSession(opts); err != nil {
		return nil, err
	}
	if err := checkContext(ctx, ""); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	made, err := s.begin(opts, false)
	if err != nil {
		return nil, err
	}
	return made.Clone(), nil
}

// begin makes a session. The caller holds mu for writing.
func (s *Store) begin(opts backend.SessionOptions, kept bool) (*session, error) {
	if err := s.checkOpen(""); err != nil {
		return nil, err
	}
	if len(s.sessions) == maxSessions {
		return nil, backend.Errorf(backend.NotReady, "", "there are %d sessions, which is the limit; destroy some", maxSessions)
	}
	if err := s.room("", 1); err != nil {
		return nil, err
	}
	s.index++
	made := &session{Session: *backend.NewSession(opts), kept: kept, keys: map[string]struct{}{}}
	made.ID, made.CreateIndex = newID(), s.index
	s.sessions[made.ID] = made
	s.renew(made)
	return made, nil
}

// newID returns a random UUID of version 4 (RFC 9562, section 5.4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// RenewSession makes the session live for its TTL from now.
func (s *Store) RenewSession(ctx context.Context, id string) (*backend.Session, error) {
	if err := checkID(ctx, id); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(""); err != nil {
		return nil, err
	}
	found, err := s.alive("", id)
	if err != nil {
		return nil, err
	}
	s.renew(found)
	return found.Clone(), nil
}

// renew lets a session live for its TTL from now. The caller holds mu for writing.
func (s *Store) renew(found *session) {
	s.cancel(found.expiry)
	found.expiry = nil
	if found.TTL > 0 && !found.kept {
		found.expiry = s.after(found.TTL, func() { s.end(found.ID) })
	}
}

// alive returns the session with that ID or a SessionInvalid error about key. The
// caller holds mu.
func (s *Store) alive(key, id string) (*session, error) {
	if found := s.sessions[id]; found != nil {
		return found, nil
	}
	return nil, backend.Errorf(backend.SessionInvalid, key, "the session %q has ended or never was; create a new one", id)
}

// DestroySession ends the session.
func (s *Store) DestroySession(ctx context.Context, id string) error {
	if err := checkID(ctx, id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkOpen(""); err != nil {
		return err
	}
	if found := s.sessions[id]; found != nil {
		if err := s.room("", len(found.keys)); err != nil {
			return err
		}
		s.end(id)
	}
	return nil
}

// end ends a session, if it lives, with all that it holds. The caller holds mu for
// writing.
func (s *Store) end(id string) {
	found := s.sessions[id]
	if found == nil || s.room("", len(found.keys)) != nil {
		return
	}
	delete(s.sessions, id)
	s.cancel(found.expiry)
	for _, key := range slices.Sorted(maps.Keys(found.keys)) {
		var free *backend.Entry
		if found.Behavior == backend.BehaviorRelease {
			free = new(*s.entries[key])
			free.Session, free.LockToken = "", 0
		}
		if found.LockDelay > 0 {
			s.cancel(s.delays[key])
			s.delays[key] = s.after(found.LockDelay, func() {
				delete(s.delays, key)
				s.waiters.wake(key)
			})
		}
		s.install(key, free)
	}
	s.waiters.wake(sessionKey(id))
}

// sessionKey is what waiters for the end of a session wait for. No key is like it.
func sessionKey(id string) string { return "\x00session/" + id }

// Session returns the live session with that ID, or nil.
func (s *Store) Session(ctx context.Context, id string) (*backend.Session, error) {
	if err := checkID(ctx, id); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(""); err != nil {
		return nil, err
	}
	if found := s.sessions[id]; found != nil {
		return found.Clone(), nil
	}
	return nil, nil
}

// Sessions returns all live sessions, sorted by ID.
func (s *Store) Sessions(ctx context.Context) ([]*backend.Session, error) {
	if err := checkContext(ctx, ""); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(""); err != nil {
		return nil, err
	}
	all := make([]*backend.Session, 0, len(s.sessions))
	for _, id := range slices.Sorted(maps.Keys(s.sessions)) {
		all = append(all, s.sessions[id].Clone())
	}
	return all, nil
}

// checkID returns an error unless a call for the session id may start.
func checkID(ctx context.Context, id string) error {
	if err := backend.CheckSessionID(id); err != nil {
		return err
	}
	return checkContext(ctx, "")
}

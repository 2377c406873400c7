package locks

import (
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
)

// renewals is how often a session is renewed within its TTL.
const renewals = 3

// session is one that its client renews.
type session struct {
	l  *Locks
	at crew.Target
	id string

	quit chan struct{}
	done chan struct{}
	once sync.Once

	mu sync.Mutex
	// sent is when the last renewal was sent that was acknowledged, or the creation;
	// ended that one said that the session has ended.
	sent  time.Duration
	ended bool
}

// begin creates a session at a target, and renews it until rest.
func (l *Locks) begin(at crew.Target, delay time.Duration) (*session, error) {
	ctx, cancel := crew.Call(l.cfg.Timeout)
	defer cancel()
	s := &session{l: l, at: at, sent: l.Now(), quit: make(chan struct{}), done: make(chan struct{})}
	made, err := at.Backend.(backend.Sessions).CreateSession(ctx, backend.SessionOptions{TTL: l.cfg.TTL, LockDelay: delay})
	if err != nil {
		return nil, err
	}
	s.id = made.ID
	go s.renew()
	return s, nil
}

// rest lets nobody renew the session any more, and waits until nobody does.
func (s *session) rest() {
	s.once.Do(func() { close(s.quit) })
	<-s.done
}

func (s *session) renew() {
	defer close(s.done)
	tick := time.NewTicker(s.l.cfg.TTL / renewals)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.quit:
			return
		}
		sent := s.l.Now()
		ctx, cancel := crew.Call(s.l.cfg.Timeout)
		_, err := s.at.Backend.(backend.Sessions).RenewSession(ctx, s.id)
		cancel()
		switch code := backend.CodeOf(err); {
		case err == nil:
			s.mu.Lock()
			s.sent = sent
			s.mu.Unlock()
		case code == backend.SessionInvalid:
			s.ends()
			return
		case code != backend.UnknownOutcome && !crew.Nothing(code):
			s.l.WentWrong("the renewal of a session at %s: %v", s.at.Name, err)
		}
	}
}

// ends notes that the session has ended, for which it must have been left alone for
// long enough.
func (s *session) ends() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.l.Now(); now < s.lives() && !s.ended {
		s.l.WentWrong("EARLY: a session at %s has ended at %v, and was renewed at %v", s.at.Name, now, s.sent)
	}
	s.ended = true
}

// lives is until when the session lives at least. The caller holds mu.
func (s *session) lives() time.Duration { return s.sent + s.l.cfg.TTL - s.l.cfg.TTL/earliness }

// held watches a lock of the session until it is lost: not while the session lives,
// and soon when it does not. It returns when the lock is lost or nobody works any
// more.
func (s *session) held(h *hold) {
	for {
		late := time.NewTimer(s.renewed(h) + s.l.cfg.TTL + lateness - s.l.Now())
		select {
		case <-h.Lost():
			late.Stop()
			s.lost(h)
			return
		case <-s.l.Stopped():
			late.Stop()
			return
		case <-late.C:
			if at := s.renewed(h); at+s.l.cfg.TTL+lateness <= s.l.Now() && h.open() {
				s.l.WentWrong("NOT TOLD: lock %d: %v is not lost yet, and its session was last renewed at %v", h.lock, h, at)
				return
			}
		}
	}
}

// renewed is when the session was last renewed, as far as the holder of one of its
// locks can know; taking a lock does so too.
func (s *session) renewed(h *hold) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.sent, h.at)
}

// lost judges that a lock is lost now.
func (s *session) lost(h *hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.l.Now(); !s.l.given(h) && !s.ended && now < s.lives() {
		s.l.WentWrong("EARLY: lock %d: %v lost it at %v, and its session was renewed at %v", h.lock, h, now, s.sent)
	}
}

// destroy ends the session; if nobody answers it ends by itself.
func (s *session) destroy() {
	s.rest()
	ctx, cancel := crew.Call(s.l.cfg.Timeout)
	defer cancel()
	err := s.at.Backend.(backend.Sessions).DestroySession(ctx, s.id)
	if code := backend.CodeOf(err); err != nil && code != backend.UnknownOutcome && !crew.Nothing(code) {
		s.l.WentWrong("the end of a session at %s: %v", s.at.Name, err)
	}
}

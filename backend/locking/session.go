package locking

import (
	"context"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// A session is one that locks hang on. The keeper's mu guards what changes.
type session struct {
	id  string
	ttl time.Duration
	// ctx ends when the session has ended, or was destroyed in doubt, and when nobody
	// uses it.
	ctx    context.Context
	cancel context.CancelFunc

	// users are the locks that it holds and the calls that wait for one.
	users int
	locks map[*lock]struct{}
	// deadline is when it may have ended, if it has a TTL.
	deadline time.Duration
	// expiry and renewal stop the alarms that are set for that and for the next
	// renewal; they are nil when there is none.
	expiry, renewal func()
	// gone, of a session that Lock made, is closed when it was destroyed or need
	// not be.
	gone chan struct{}
}

// begin makes the session that opts describe, or renews the one that is given, so
// that all is known of it that counts.
func (k *Keeper) begin(ctx context.Context, opts backend.LockOptions) (*session, error) {
	var made *backend.Session
	var err error
	own, sent := opts.Session == "", k.clock.Now()
	if own {
		if opts.Own.TTL == 0 {
			opts.Own.TTL = backend.DefaultLockTTL
		}
		made, err = k.create(ctx, opts)
	} else {
		made, err = k.RenewSession(ctx, opts.Session)
	}
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, closed(opts.Key)
	}
	s := k.sessions[made.ID]
	if s == nil {
		s = &session{id: made.ID, ttl: made.TTL, locks: map[*lock]struct{}{}}
		s.ctx, s.cancel = context.WithCancel(k.ctx)
		k.sessions[s.id] = s
	}
	s.users++
	k.extend(s, sent)
	if own {
		s.gone = make(chan struct{})
		s.renewal = k.after(s.ttl/3, func() { k.keep(s) })
	}
	return s, nil
}

// create makes the session of a lock. A session that is still being made when ctx ends
// is destroyed once it is there: until then nobody knows its ID.
func (k *Keeper) create(ctx context.Context, opts backend.LockOptions) (*backend.Session, error) {
	type answer struct {
		made *backend.Session
		err  error
	}
	answers := make(chan answer) // each is taken, unless ctx has ended
	making, cancel := context.WithCancel(context.WithoutCancel(ctx))
	err := k.background(opts.Key, func() {
		defer cancel()
		defer context.AfterFunc(k.ctx, cancel)()
		made, err := k.store.CreateSession(making, opts.Own)
		select {
		case answers <- answer{made, err}:
		case <-ctx.Done():
			if err == nil {
				k.destroy(&session{id: made.ID, ttl: made.TTL})
			}
		}
	})
	if err != nil {
		cancel()
		return nil, err
	}
	select {
	case a := <-answers:
		return a.made, a.err
	case <-ctx.Done():
		stop := k.clock.AfterFunc(destroyTimeout, cancel)
		context.AfterFunc(making, func() { stop() })
		return nil, backend.Errorf(backend.NoQuorum, opts.Key, "its session was still being made")
	}
}

// extend notes that s lives for its TTL from sent. The caller holds mu.
func (k *Keeper) extend(s *session, sent time.Duration) {
	if s.ttl == 0 || s.ctx.Err() != nil {
		return
	}
	s.deadline = max(s.deadline, sent+s.ttl-s.ttl/drift)
	if s.expiry == nil && !k.closed {
		s.expiry = k.after(s.deadline-k.clock.Now(), func() { k.expire(s) })
	}
}

// expire runs when s may have ended, unless it was renewed meanwhile.
func (k *Keeper) expire(s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.expiry == nil {
		return // stopped
	}
	s.expiry = nil
	if left := s.deadline - k.clock.Now(); left > 0 && !k.closed {
		s.expiry = k.after(left, func() { k.expire(s) })
		return
	}
	k.loseAll(s)
}

// overdue reports whether s may have ended, without waiting for an alarm: this
// process may have been stopped. The caller holds mu.
func (k *Keeper) overdue(s *session) bool {
	return s.ctx.Err() != nil || k.ending[s.id] > 0 || s.ttl > 0 && k.clock.Now() >= s.deadline
}

// ended reports whether s has ended, and not only because the keeper was closed.
func (k *Keeper) ended(s *session) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return s.ctx.Err() != nil && !k.closed
}

// keep renews a session that Lock made, and again later.
func (k *Keeper) keep(s *session) {
	ctx, cancel := context.WithTimeout(s.ctx, s.ttl/3)
	defer cancel()
	next := s.ttl / 3
	if _, err := k.RenewSession(ctx, s.id); err != nil {
		next = jittered(lastPause)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.renewal != nil && !k.closed {
		s.renewal = k.after(next, func() { k.keep(s) })
	}
}

// stop stops the alarms of s. The caller holds mu.
func (s *session) stop() {
	for _, alarm := range []*func(){&s.expiry, &s.renewal} {
		if *alarm != nil {
			(*alarm)()
			*alarm = nil
		}
	}
}

// over notes that s has ended, for good. The caller holds mu.
func (k *Keeper) over(s *session) {
	s.cancel()
	s.stop()
	k.loseAll(s)
}

// loseAll makes all locks of s lost. The caller holds mu.
func (k *Keeper) loseAll(s *session) {
	for l := range s.locks {
		k.lose(l)
	}
}

// leave ends the use of s by one lock, or by one call of Lock that failed. A session
// of its own is destroyed. The caller holds mu.
func (k *Keeper) leave(s *session, own bool) {
	if !own || s.ctx.Err() != nil || k.closed {
		k.drop(s, own)
		return
	}
	if s.renewal != nil {
		s.renewal()
		s.renewal = nil
	}
	k.running.Go(func() {
		k.destroy(s)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.drop(s, true)
	})
}

// drop forgets a user of s. The caller holds mu.
func (k *Keeper) drop(s *session, own bool) {
	if own {
		close(s.gone)
	}
	k.locks--
	if s.users--; s.users == 0 {
		s.stop()
		s.cancel()
		delete(k.sessions, s.id)
	}
}

// destroy destroys a session that Lock made. It tries until the session has ended
// by itself.
func (k *Keeper) destroy(s *session) {
	p := newPause(k.clock)
	defer p.end()
	end := k.clock.Now() + 2*s.ttl
	for k.ctx.Err() == nil && k.clock.Now() < end {
		p.start()
		ctx, cancel := context.WithTimeout(k.ctx, destroyTimeout)
		err := k.DestroySession(ctx, s.id)
		cancel()
		if err == nil || backend.CodeOf(err) == backend.Closed {
			return
		}
		p.wait(k.ctx)
	}
}

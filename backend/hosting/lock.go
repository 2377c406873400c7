package hosting

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/chord-plugin/chord-plugin/backend"
)

// sessionName is what operators see of the session of a lock.
const sessionName = "lock of a host"

// fenceOf is what a write carries.
func (s *Store) fenceOf(unfenced bool) backend.Fence {
	if unfenced {
		return backend.Fence{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fence
}

// Lock is a lock of a host's, held or not. It is safe for use by many goroutines.
// Make one with NewLock.
type Lock struct {
	s          *Store
	key, value string

	mu sync.Mutex
	// taking tells that a call of Lock is under way.
	taking bool
	held   backend.Lock
	// fence is that of the last time it was held.
	fence backend.Fence
}

// NewLock returns the lock of key, which is not held yet. The value tells others who
// holds it.
func (s *Store) NewLock(key, value string) *Lock { return &Lock{s: s, key: key, value: value} }

// Lock waits until it has the lock and returns a channel that is closed when the lock
// is lost. It returns nil and no error when stop is closed first; stop may be nil.
//
// Where the backend has fences, whatever an earlier holder still writes fails from
// then on. The writes of this store carry the lock, until the host registers one:
// hosts that know of no fences have them all the same.
func (l *Lock) Lock(stop <-chan struct{}) (<-chan struct{}, error) {
	l.mu.Lock()
	busy := l.taking || l.held != nil && !isLost(l.held)
	l.taking = !busy || l.taking
	l.mu.Unlock()
	if busy {
		return nil, errors.New("the lock is held or waited for already")
	}
	l.s.siblings.Do(l.s.warnOfSiblings)
	held, err := l.take(stop)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taking = false
	if held == nil {
		return nil, err
	}
	l.held, l.fence = held, backend.FenceOf(held)
	l.s.endWith(held)
	if l.s.can.Has(backend.CanFence) {
		l.s.carry(l.fence, false)
	}
	return held.Lost(), nil
}

// warnOfSiblings says it if writes of this process may go past the store that has the
// lock, and so past its fence: a host with a separate ha_storage opens two.
func (s *Store) warnOfSiblings() {
	if n := opened.Load(); s.opened && n > 1 {
		s.log.Warn("this process has opened several storages of chord-plugin, and only the writes through the one with the lock are fenced: use one stanza for storage and ha_storage", "opened", n)
	}
}

// endWith ends the session of a lock once that is lost. A plugin that was killed could
// not, and the next holder need not wait until it ends by itself.
func (s *Store) endWith(held backend.Lock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil || !s.restarts {
		return
	}
	s.running.Go(func() {
		select {
		case <-held.Lost():
		case <-s.life.Done():
			return
		}
		s.destroySession(held)
	})
}

// destroySession ends the session of a lock that is lost then, at once.
func (s *Store) destroySession(held backend.Lock) {
	_, err := on(s.life, s, held.Key(), func(ctx context.Context, b backend.Backend) (struct{}, error) {
		sessions, ok := b.(backend.Sessions)
		if !ok {
			return struct{}{}, backend.Errorf(backend.Invalid, held.Key(), "the storage has no sessions")
		}
		return struct{}{}, sessions.DestroySession(ctx, held.Session())
	})
	if err != nil && s.life.Err() == nil && backend.CodeOf(err) != backend.SessionInvalid {
		s.log.Warn("the session of a lock that was lost may live on until its time is over", "session", held.Session(), "error", err)
	}
}

// giveUp makes a lock lost that could not be released, and returns once it is. It is
// free when its session ends, which is tried in the background.
func (s *Store) giveUp(held backend.Lock) {
	tried := make(chan struct{})
	s.mu.Lock()
	if s.life.Err() != nil {
		s.mu.Unlock()
		return // Close makes all locks lost
	}
	s.running.Go(func() {
		defer close(tried)
		s.destroySession(held)
	})
	s.mu.Unlock()
	select {
	case <-held.Lost():
	case <-tried:
	}
}

func isLost(held backend.Lock) bool {
	select {
	case <-held.Lost():
		return true
	default:
		return false
	}
}

// take waits for the lock, and fences off those who had it. It returns nil when stop
// is closed.
func (l *Lock) take(stop <-chan struct{}) (backend.Lock, error) {
	ctx, cancel := context.WithCancel(l.s.life)
	stopped := make(chan struct{})
	var watching sync.WaitGroup
	defer func() {
		cancel()
		watching.Wait()
	}()
	watching.Go(func() {
		select {
		case <-stop:
			close(stopped)
			cancel()
		case <-ctx.Done():
		}
	})
	held, err := l.acquire(ctx)
	select {
	case <-stopped:
		if err != nil {
			return nil, nil
		}
	default:
	}
	return held, err
}

func (l *Lock) acquire(ctx context.Context) (backend.Lock, error) {
	return onEach(ctx, l.s, l.key, l.acquireOn)
}

func (l *Lock) acquireOn(ctx context.Context, b backend.Backend) (backend.Lock, error) {
	locker, ok := b.(backend.Locker)
	if !ok {
		return nil, backend.Errorf(backend.Invalid, l.key, "the storage has no locks")
	}
	delay := l.s.stanza.lockDelay
	if delay == 0 {
		delay = backend.NoLockDelay
	}
	held, err := locker.Lock(ctx, backend.LockOptions{
		Key: l.key, Value: []byte(l.value),
		Own: backend.SessionOptions{Name: sessionName, TTL: l.s.stanza.sessionTTL, LockDelay: delay},
	})
	if err != nil || !l.s.can.Has(backend.CanFence) {
		return held, err
	}
	bounded, cancel := l.s.bounded(ctx)
	defer cancel()
	if err := b.(backend.Fencer).Fence(bounded, backend.FenceOf(held)); err != nil {
		return nil, errors.Join(err, l.release(held))
	}
	return held, nil
}

// Unlock releases the lock. It is no error if it is not held any more, as after the death
// of its plugin. A lock that it can not release in time is lost all the same: hosts drop
// it whatever Unlock says, and nobody would ever stop renewing its session. Others have it
// when that ends, which takes about session_ttl at the most.
func (l *Lock) Unlock() error {
	l.mu.Lock()
	held := l.held
	l.mu.Unlock()
	if held == nil {
		return nil
	}
	return l.release(held)
}

func (l *Lock) release(held backend.Lock) error {
	ctx, cancel := l.s.bounded(context.Background())
	defer cancel()
	err := held.Unlock(ctx)
	switch code := backend.CodeOf(err); {
	case err == nil, code == backend.LockLost, code == backend.Closed, isLost(held):
		return nil
	}
	l.s.giveUp(held)
	return fmt.Errorf("the lock is given up, and free once its session ends, which takes about %v at the most: %w", l.s.stanza.sessionTTL, err)
}

// Value tells whether anybody holds the lock, and the value of who does.
func (l *Lock) Value() (held bool, value string, err error) {
	_, err = on(context.Background(), l.s, l.key, func(ctx context.Context, b backend.Backend) (v []byte, err error) {
		v, held, err = backend.LockValue(ctx, b, l.key)
		value = string(v)
		return v, err
	})
	return held, value, err
}

// IsActivelyHeld asks the storage whether this lock is held, whatever the channel says.
func (l *Lock) IsActivelyHeld(ctx context.Context) (bool, error) {
	l.mu.Lock()
	held := l.held
	l.mu.Unlock()
	if held == nil {
		return false, nil
	}
	e, err := l.s.Get(ctx, l.key)
	return e != nil && e.Session == held.Session() && e.LockToken == held.Token(), err
}

// Register makes every later write of the store carry the lock, which must have been
// held, through whichever store. If somebody else has it since, these writes fail.
func (s *Store) Register(l *Lock) error {
	l.mu.Lock()
	fence := l.fence
	l.mu.Unlock()
	if fence == (backend.Fence{}) {
		return backend.Errorf(backend.Invalid, l.key, "the lock was never held, or the storage has no fences; take it first")
	}
	s.carry(fence, true)
	return nil
}

// carry makes f what writes carry. What the host has registered goes before, unless f
// is a newer token of the same lock.
func (s *Store) carry(f backend.Fence, register bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if register || !s.registered || f.Key == s.fence.Key && f.Token > s.fence.Token {
		s.fence, s.registered = f, register || s.registered
	}
}

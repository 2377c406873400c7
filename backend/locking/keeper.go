// Package locking makes locks of transactions, sessions and watches. It is the one
// implementation of backend.Locker for whatever has these three: a member of the
// ring and each client of one.
//
// No two clocks are compared. The holder counts the TTL of its session from when it
// sent the last renewal that was acknowledged, which is before the backend began to
// count it; so it knows that the lock is lost before anybody else can have it.
package locking

import (
	"context"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// maxLocks bounds the locks of a Keeper: those held, those that are waited for,
	// and those whose own session is still being made or to be destroyed.
	maxLocks = 100_000
	// destroyTimeout is how long one attempt to destroy a session may take.
	destroyTimeout = 5 * time.Second
	// drift is the part of a TTL, one in so many, by which a lock is given up early:
	// clocks that are being adjusted run up to 500 ppm too fast or too slow (adjtimex(2)).
	drift = 1000
)

// Store is what locks are made of.
type Store interface {
	backend.Backend
	backend.Transactional
	backend.Sessions
	backend.Watcher
}

// A Keeper makes locks of a Store. It is also that store's Sessions: renewals of
// sessions that are given to Lock must go through it, since it counts from them.
// It is safe for use by many goroutines. Make one with New.
type Keeper struct {
	store Store
	clock Clock
	// ctx is that of what goes on in the background. It ends with Close.
	ctx context.Context
	end context.CancelFunc

	mu     sync.Mutex
	closed bool
	// locks counts what maxLocks bounds.
	locks int
	// sessions are those of the locks, by ID.
	sessions map[string]*session
	// ending counts the calls under way that destroy a session, by its ID.
	ending map[string]int
	turns  map[string]*turn
	// running are the goroutines of the keeper and the alarms that are set.
	running sync.WaitGroup
}

var (
	_ backend.Locker   = (*Keeper)(nil)
	_ backend.Sessions = (*Keeper)(nil)
)

// New returns a keeper of locks in store, whose time is the machine's if clock is
// nil. Close it before the store.
func New(store Store, clock Clock) *Keeper {
	if clock == nil {
		clock = newMachineClock()
	}
	k := &Keeper{store: store, clock: clock, sessions: map[string]*session{}, ending: map[string]int{}, turns: map[string]*turn{}}
	k.ctx, k.end = context.WithCancel(context.Background())
	return k
}

// CreateSession begins a session.
func (k *Keeper) CreateSession(ctx context.Context, opts backend.SessionOptions) (*backend.Session, error) {
	return k.store.CreateSession(ctx, opts)
}

// RenewSession makes the session live for its TTL from now.
func (k *Keeper) RenewSession(ctx context.Context, id string) (*backend.Session, error) {
	sent := k.clock.Now()
	renewed, err := k.store.RenewSession(ctx, id)
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.sessions[id]; s != nil {
		switch {
		case err == nil:
			k.extend(s, sent)
		case backend.CodeOf(err) == backend.SessionInvalid:
			k.over(s)
		}
	}
	return renewed, err
}

// DestroySession ends the session. The locks that it holds are lost before, since
// others may take them from when the call is sent, and stay so if it fails.
func (k *Keeper) DestroySession(ctx context.Context, id string) error {
	k.mu.Lock()
	k.ending[id]++
	if s := k.sessions[id]; s != nil {
		k.loseAll(s)
	}
	k.mu.Unlock()
	err := k.store.DestroySession(ctx, id)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ending[id]--; k.ending[id] == 0 {
		delete(k.ending, id)
	}
	if s := k.sessions[id]; s != nil && (err == nil || backend.CodeOf(err) == backend.UnknownOutcome) {
		k.over(s) // nobody may count on it any more
	}
	return err
}

// Session returns the live session with that ID, or nil.
func (k *Keeper) Session(ctx context.Context, id string) (*backend.Session, error) {
	return k.store.Session(ctx, id)
}

// Sessions returns all live sessions, sorted by ID.
func (k *Keeper) Sessions(ctx context.Context) ([]*backend.Session, error) {
	return k.store.Sessions(ctx)
}

// Close closes the Lost channel of every lock and ends the calls of Lock that wait.
// Nothing goes on in the background when it returns. What is held in the store
// stays so until its session expires. Closing again does nothing.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.closed = true
	for _, s := range k.sessions {
		k.loseAll(s)
		s.stop()
	}
	k.mu.Unlock()
	k.end()
	k.running.Wait()
}

// enter lets a call of Lock begin, which leave ends.
func (k *Keeper) enter(key string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return closed(key)
	case k.locks >= maxLocks:
		return backend.Errorf(backend.NotReady, key, "%d locks are held or waited for here, which is the limit; release some", maxLocks)
	}
	k.locks++
	return nil
}

// background runs f, which counts as a lock.
func (k *Keeper) background(key string, f func()) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return closed(key)
	}
	k.locks++
	k.running.Go(func() {
		f()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.locks--
	})
	return nil
}

// after calls f once d has passed, unless it is stopped before. Close waits for it.
// The caller holds mu, and the keeper is open.
func (k *Keeper) after(d time.Duration, f func()) (stop func()) {
	k.running.Add(1)
	cancel := k.clock.AfterFunc(d, func() {
		defer k.running.Done()
		f()
	})
	return func() {
		if cancel() {
			k.running.Done()
		}
	}
}

func closed(key string) error {
	return backend.Errorf(backend.Closed, key, "the backend was closed; open a new one")
}

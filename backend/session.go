package backend

import (
	"bytes"
	"context"
	"time"
	"unicode/utf8"
)

// The limits of sessions and lifetimes.
const (
	// MinTTL and MaxTTL bound the TTL of a session and the lifetime of a key.
	MinTTL = 10 * time.Second
	MaxTTL = 24 * time.Hour
	// MaxLockDelay bounds a session's lock delay.
	MaxLockDelay = time.Minute
	// DefaultLockDelay is the lock delay of a session that asks for none.
	DefaultLockDelay = 15 * time.Second
	// NoLockDelay asks for a session without lock delay.
	NoLockDelay time.Duration = -1
	// MaxSessionName and MaxSessionData bound a session's name and data in bytes.
	MaxSessionName = 256
	MaxSessionData = 4096
)

// Sessions is a backend that keeps sessions: claims to be alive, which locks
// hang on.
//
// No two clocks are compared. A session with a TTL lives for at least its TTL
// from when it was created or last renewed, and ends some time after that unless
// it is renewed. Nothing brings it back once it has ended. When a session ends,
// every lock that it holds is released, or the key deleted, as its Behavior says,
// and nobody can lock those keys for its LockDelay; all readers see that at
// once.
type Sessions interface {
	// CreateSession begins a session. Its ID is a new random UUID.
	CreateSession(ctx context.Context, opts SessionOptions) (*Session, error)

	// RenewSession makes the session live for its TTL from now. It fails with
	// SessionInvalid when the session has ended or never was.
	RenewSession(ctx context.Context, id string) (*Session, error)

	// DestroySession ends the session. It is no error if it has ended or never was.
	DestroySession(ctx context.Context, id string) error

	// Session returns the live session with that ID, or nil.
	Session(ctx context.Context, id string) (*Session, error)

	// Sessions returns all live sessions, sorted by ID.
	Sessions(ctx context.Context) ([]*Session, error)
}

// Behavior says what becomes of the keys that a session holds when it ends.
type Behavior string

// The behaviors.
const (
	// BehaviorRelease leaves the key, with its value and without a holder.
	BehaviorRelease Behavior = "release"
	// BehaviorDelete deletes the key.
	BehaviorDelete Behavior = "delete"
)

// SessionOptions describe a session that is to be. The zero value is a session
// without TTL, released at its end, with the default lock delay.
type SessionOptions struct {
	// Name is for people.
	Name string
	// TTL is MinTTL to MaxTTL; 0 is a session that ends only when it is destroyed.
	TTL time.Duration
	// Behavior is BehaviorRelease when it is empty.
	Behavior Behavior
	// LockDelay is up to MaxLockDelay; 0 stands for DefaultLockDelay, and
	// NoLockDelay for none. It is the time that a holder which does not know yet
	// that its session has ended has to finish what it does. A lock that is released
	// while the session lives causes no delay.
	LockDelay time.Duration
	// Data is kept with the session for whoever made it.
	Data []byte
}

// Session is a live session.
type Session struct {
	ID   string
	Name string
	// TTL is 0 for a session that ends only when it is destroyed.
	TTL      time.Duration
	Behavior Behavior
	// LockDelay is 0 for none.
	LockDelay time.Duration
	Data      []byte
	// CreateIndex is an index of the same kind as those of entries.
	CreateIndex uint64
}

// Clone returns a deep copy of s; nil stays nil.
func (s *Session) Clone() *Session {
	if s == nil {
		return nil
	}
	c := *s
	c.Data = bytes.Clone(s.Data)
	return &c
}

// NewSession returns the session that opts describe, without ID and index, with
// the defaults filled in. The options must have passed CheckSession.
func NewSession(opts SessionOptions) *Session {
	s := &Session{Name: opts.Name, TTL: opts.TTL, Behavior: opts.Behavior, LockDelay: opts.LockDelay, Data: bytes.Clone(opts.Data)}
	if s.Behavior == "" {
		s.Behavior = BehaviorRelease
	}
	switch s.LockDelay {
	case 0:
		s.LockDelay = DefaultLockDelay
	case NoLockDelay:
		s.LockDelay = 0
	}
	return s
}

// CheckSession returns an Invalid or TooLarge error unless there can be a session
// as opts describe.
func CheckSession(opts SessionOptions) error {
	switch {
	case opts.TTL != 0 && (opts.TTL < MinTTL || opts.TTL > MaxTTL):
		return Errorf(Invalid, "", "the session's TTL is %v and must be %v to %v, or 0 for none", opts.TTL, MinTTL, MaxTTL)
	case opts.Behavior != "" && opts.Behavior != BehaviorRelease && opts.Behavior != BehaviorDelete:
		return Errorf(Invalid, "", "the session's behavior is %q and must be %q or %q", opts.Behavior, BehaviorRelease, BehaviorDelete)
	case opts.LockDelay != NoLockDelay && (opts.LockDelay < 0 || opts.LockDelay > MaxLockDelay):
		return Errorf(Invalid, "", "the session's lock delay is %v and may be up to %v", opts.LockDelay, MaxLockDelay)
	case len(opts.Name) > MaxSessionName:
		return Errorf(TooLarge, "", "the session's name has %d bytes and may have %d", len(opts.Name), MaxSessionName)
	case !utf8.ValidString(opts.Name):
		return Errorf(Invalid, "", "a session's name must be valid UTF-8")
	case len(opts.Data) > MaxSessionData:
		return Errorf(TooLarge, "", "the session's data has %d bytes and may have %d", len(opts.Data), MaxSessionData)
	}
	return nil
}

// CheckSessionID returns an Invalid error for an ID that no session has.
func CheckSessionID(id string) error {
	if id == "" {
		return Errorf(Invalid, "", "the session ID is empty; give that of a session")
	}
	return nil
}

// checkLifetime returns an Invalid error unless a key may live for d.
func checkLifetime(key string, d time.Duration) error {
	if d != 0 && (d < MinTTL || d > MaxTTL) {
		return Errorf(Invalid, key, "the key is to expire after %v, which must be %v to %v, or 0 for never", d, MinTTL, MaxTTL)
	}
	return nil
}

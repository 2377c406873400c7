package register

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// SessionState is where a session stands.
type SessionState uint8

// The states. They are stored and never change their meaning.
const (
	// SessionGone: there is none, or not any more.
	SessionGone SessionState = iota
	// SessionLive: it may hold keys.
	SessionLive
	// SessionEnded: it holds nothing any more, and never will; its lock delay is
	// running.
	SessionEnded
)

// Session is what the register of a session holds.
type Session struct {
	State SessionState
	// TTL is how long it lives from its last renewal; 0 is for ever.
	TTL time.Duration
	// Delay is for how long nobody may lock what it held when it ended.
	Delay time.Duration
	// Delete says that the keys that it holds are deleted with it.
	Delete bool
	// Renewals counts the renewals.
	Renewals uint64
	// Name and Data are its maker's.
	Name string
	Data []byte
}

// SessionPrefix begins the keys of sessions.
const SessionPrefix = "\x00session/"

// SessionKey returns the key of a session's register.
func SessionKey(id string) string { return SessionPrefix + id }

// ParseSessionKey is the inverse of SessionKey; false for a key that is no session.
func ParseSessionKey(key string) (id string, ok bool) { return strings.CutPrefix(key, SessionPrefix) }

// Lasts returns how long the session stays what it is unless it is renewed: whoever
// has seen it unchanged for that long ends it, or forgets it once it has ended. 0
// is for ever.
func (s *Session) Lasts() time.Duration {
	if s.State == SessionEnded {
		return max(s.Delay, 1)
	}
	return s.TTL
}

// Delays reports whether a lock delay of the session is running.
func (s *Session) Delays() bool { return s.State == SessionEnded && s.Delay > 0 }

// AppendSession appends the encoding of s to dst, as it is stored in the session
// register's data: state, delete (0 or 1), TTL and delay in nanoseconds, renewals,
// name (length, bytes), then data; numbers as in a cell.
func AppendSession(dst []byte, s *Session) []byte {
	dst = append(dst, byte(s.State))
	dst = appendBool(dst, s.Delete)
	dst = binary.AppendUvarint(dst, uint64(s.TTL))
	dst = binary.AppendUvarint(dst, uint64(s.Delay))
	dst = binary.AppendUvarint(dst, s.Renewals)
	dst = appendString(dst, s.Name)
	return append(dst, s.Data...)
}

// SessionOf returns the session that a register holds.
func SessionOf(v *Value) (Session, error) {
	var s Session
	if !v.Live {
		return s, nil
	}
	d := decoder{b: v.Data}
	s.State = SessionState(d.byte())
	if d.err == nil && (s.State < SessionLive || s.State > SessionEnded) {
		d.fail(fmt.Errorf("unknown state %d; a newer build wrote this", s.State))
	}
	s.Delete = d.bool()
	s.TTL, s.Delay = d.duration(), d.duration()
	s.Renewals = d.uvarint()
	s.Name = d.string()
	if d.err != nil {
		return Session{}, fmt.Errorf("register: session of %d bytes: %w", len(v.Data), d.err)
	}
	if len(d.b) > 0 {
		s.Data = d.b
	}
	return s, nil
}

// turn carries out Renew and End on a session: the one after it, and whether it
// changed. Data that is no session stays as it is.
func (c *Change) turn(v *Value) (s Session, changed bool) {
	s, err := SessionOf(v)
	if err != nil || s.State != SessionLive {
		return s, false
	}
	if c.Kind == Renew {
		s.Renewals++
	} else {
		s.State, s.Data = SessionEnded, nil
	}
	return s, true
}

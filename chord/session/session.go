package session

import (
	"errors"
	"fmt"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// ErrEnded is the error of renewing a session that has ended or never was.
var ErrEnded = errors.New("the session has ended or never was")

// Info is a session as it is.
type Info struct {
	register.Session
	// Create is the timestamp of its creation.
	Create uint64
}

// Create begins a session under an ID that was never used. If its outcome is
// unknown, the session may come to live for its TTL.
func Create(r txn.Registers, id string, s register.Session) (Info, error) {
	s.State, s.Renewals = register.SessionLive, 0
	key := register.SessionKey(id)
	res, err := r.Change(key, register.Change{Kind: register.Put, Data: register.AppendSession(nil, &s), Expires: s.Lasts(), If: true})
	switch {
	case errors.Is(err, txn.ErrUnknown):
		if found, readErr := Get(r, id); readErr == nil && found.State == register.SessionLive {
			return found, nil
		}
		fallthrough
	case err != nil:
		return Info{}, fmt.Errorf("create session %q: %w", id, err)
	case res.Outcome != register.Done:
		return Info{}, fmt.Errorf("create session %q: there is one with that ID", id)
	}
	return Info{s, res.Index}, nil
}

// Get returns a session; one that has ended is the zero Info.
func Get(r txn.Registers, id string) (Info, error) {
	v, err := r.Read(register.SessionKey(id))
	if err != nil {
		return Info{}, fmt.Errorf("session %q: %w", id, err)
	}
	return Live(&v)
}

// Live returns the session that a register holds, the zero Info unless it lives.
func Live(v *register.Value) (Info, error) {
	s, err := register.SessionOf(v)
	if err != nil || s.State != register.SessionLive {
		return Info{}, err
	}
	return Info{s, v.Create}, nil
}

// Renew lets a session live for its TTL from now. If its outcome is unknown the
// caller must count from the renewal before, and may renew again at once.
func Renew(r txn.Registers, id string) (Info, error) {
	res, err := r.Change(register.SessionKey(id), register.Change{Kind: register.Renew})
	if err != nil {
		return Info{}, fmt.Errorf("renew session %q: %w", id, err)
	}
	info, err := Live(&res.Value)
	if err == nil && info.State != register.SessionLive {
		err = ErrEnded
	}
	if err != nil {
		return Info{}, fmt.Errorf("renew session %q: %w", id, err)
	}
	return info, nil
}

// Named returns all keys that name a session as their holder, or have an intent
// that does; see register.Value.Names. Every key must be among them that did so at
// an owner's quorum when the call began, unless it did not any more at some moment
// of the call. It may return others.
type Named func(session string) ([]string, error)

// Destroy ends a session. It is no error if it has ended or never was. Its keys are
// swept in the background, which nobody has to wait for.
func Destroy(c *txn.Coordinator, r txn.Registers, id string, named Named) error {
	res, err := r.Change(register.SessionKey(id), register.Change{Kind: register.End})
	if err != nil {
		return fmt.Errorf("destroy session %q: %w", id, err)
	}
	s, err := register.SessionOf(&res.Value)
	if err != nil || s.State == register.SessionGone {
		return err // of one that never was nothing is swept: it may begin yet
	}
	r.Later(func(r txn.Registers) { _ = Sweep(c, r, id, named) }) // if it fails: before it is forgotten
	return nil
}

// Sweep releases all keys of a session that has ended. A lock that the session's
// transactions still take is among what is named, or can not commit: they place
// their intents first and then validate that it lives.
func Sweep(c *txn.Coordinator, r txn.Registers, id string, named Named) error {
	keys, err := named(id)
	if err == nil {
		err = r.Each(len(keys), func(i int) error { return c.Release(r, keys[i], id) })
	}
	if err != nil {
		return fmt.Errorf("release the keys of session %q: %w", id, err)
	}
	return nil
}

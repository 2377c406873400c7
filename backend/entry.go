package backend

import (
	"bytes"
	"time"
)

// Entry is a key with its value and its versions.
type Entry struct {
	Key   string
	Value []byte
	// Flags is the opaque number stored with the value.
	Flags uint64
	// Session is the live session that holds the key as a lock, or empty. A plain
	// write keeps it.
	Session string
	// CreateIndex is the modify index of the change that created the key.
	CreateIndex uint64
	// ModifyIndex is the index of the key's last real change: a hybrid logical
	// timestamp of at most 53 bits, greater than 1. It grows with every change and
	// never restarts, also after the key was deleted.
	ModifyIndex uint64
	// LockIndex counts the holders that the key has had as a lock since it was
	// created.
	LockIndex uint64
	// LockToken is the modify index of the change by which Session took the lock,
	// and 0 when nobody holds it. It grows from holder to holder and, unlike
	// LockIndex, never restarts: it is what a Fence is made of.
	LockToken uint64
	// ExpiresAfter is the lifetime that the last write gave the key; 0 is for ever.
	ExpiresAfter time.Duration
}

// Clone returns a deep copy of e; nil stays nil.
func (e *Entry) Clone() *Entry {
	if e == nil {
		return nil
	}
	c := *e
	c.Value = bytes.Clone(e.Value)
	return &c
}

package backend

import "bytes"

// Entry is a key with its value and its versions.
type Entry struct {
	Key   string
	Value []byte
	// Flags is the opaque number stored with the value.
	Flags uint64
	// Session is the session that holds the key as a lock, or empty.
	Session string
	// CreateIndex is the modify index of the change that created the key.
	CreateIndex uint64
	// ModifyIndex is the index of the key's last real change: a hybrid logical
	// timestamp of at most 53 bits. It grows with every change and never
	// restarts, also after the key was deleted.
	ModifyIndex uint64
	// LockIndex counts the holders that the key has had as a lock.
	LockIndex uint64
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

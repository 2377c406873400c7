package httpapi

import (
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// wireEntry is an entry as Consul writes it: these fields in this order, Value
// in base64 and null when empty, Session left out when empty. LockToken and
// ExpiresAfter are ours, and left out when there is none. Reading takes the names
// in any case, as encoding/json does.
type wireEntry struct {
	LockIndex   uint64
	Key         string
	Flags       uint64
	Value       []byte
	Session     string `json:",omitempty"`
	CreateIndex uint64
	ModifyIndex uint64

	LockToken    uint64       `json:",omitempty"`
	ExpiresAfter wireDuration `json:",omitempty"`
}

// wireDuration is a duration as Go writes it, "1m30s".
type wireDuration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d wireDuration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *wireDuration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = wireDuration(parsed)
	return err
}

func toWire(e *backend.Entry) wireEntry {
	w := wireEntry{
		LockIndex: e.LockIndex, Key: e.Key, Flags: e.Flags, Session: e.Session,
		CreateIndex: e.CreateIndex, ModifyIndex: e.ModifyIndex,
		LockToken: e.LockToken, ExpiresAfter: wireDuration(e.ExpiresAfter),
	}
	if len(e.Value) > 0 {
		w.Value = e.Value
	}
	return w
}

func (w *wireEntry) entry() *backend.Entry {
	e := w.bare()
	if e.Value == nil {
		e.Value = []byte{}
	}
	return e
}

// bare is entry where null is no value: that of a change in a transaction.
func (w *wireEntry) bare() *backend.Entry {
	return &backend.Entry{
		Key: w.Key, Value: w.Value, Flags: w.Flags, Session: w.Session,
		CreateIndex: w.CreateIndex, ModifyIndex: w.ModifyIndex, LockIndex: w.LockIndex,
		LockToken: w.LockToken, ExpiresAfter: time.Duration(w.ExpiresAfter),
	}
}

// wireList is a page of /v1/chord/list.
type wireList struct {
	Items []wireItem
	More  bool
	Index uint64
}

// wireItem is one name of a page. RawName stands in for Name where a separator
// that is no UTF-8 cut a key within a character, which JSON could not carry.
type wireItem struct {
	Name    string
	RawName []byte     `json:",omitempty"`
	Folded  bool       `json:",omitempty"`
	Entry   *wireEntry `json:",omitempty"`
}

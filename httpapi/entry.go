package httpapi

import "github.com/chord-plugin/chord-plugin/backend"

// wireEntry is an entry as Consul writes it: these fields in this order, Value
// in base64 and null when empty, Session left out when empty. Reading takes the
// names in any case, as encoding/json does.
type wireEntry struct {
	LockIndex   uint64
	Key         string
	Flags       uint64
	Value       []byte
	Session     string `json:",omitempty"`
	CreateIndex uint64
	ModifyIndex uint64
}

func toWire(e *backend.Entry) wireEntry {
	w := wireEntry{
		LockIndex: e.LockIndex, Key: e.Key, Flags: e.Flags, Session: e.Session,
		CreateIndex: e.CreateIndex, ModifyIndex: e.ModifyIndex,
	}
	if len(e.Value) > 0 {
		w.Value = e.Value
	}
	return w
}

func (w *wireEntry) entry() *backend.Entry {
	e := &backend.Entry{
		Key: w.Key, Value: w.Value, Flags: w.Flags, Session: w.Session,
		CreateIndex: w.CreateIndex, ModifyIndex: w.ModifyIndex, LockIndex: w.LockIndex,
	}
	if e.Value == nil {
		e.Value = []byte{}
	}
	return e
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

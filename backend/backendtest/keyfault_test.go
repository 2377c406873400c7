package backendtest

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/chord-plugin/chord-plugin/backend"
)

var keyFaults = []fault{
	{name: "a missing key is an error", caught: []string{"a missing key is nil and no error", "random changes agree with a map"}, breaks: func(h *hooks) {
		h.get = func(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
			e, err := h.Backend.Get(ctx, key, opts)
			if e == nil && err == nil {
				err = backend.Errorf(backend.Invalid, key, "not found")
			}
			return e, err
		}
	}},
	{name: "a missing key is an empty entry", caught: []string{"a missing key is nil and no error", "a deleted key is gone", "deleting a missing key is no error", "GetOr and PopOr fall back for a missing key only"}, breaks: func(h *hooks) {
		h.entry(func(key string, e *backend.Entry) *backend.Entry {
			if e == nil {
				return &backend.Entry{Key: key}
			}
			return e
		})
	}},
	{name: "an empty value is a missing key", caught: []string{"an empty value is a value", "GetOr and PopOr fall back for a missing key only"}, breaks: func(h *hooks) {
		h.entry(func(_ string, e *backend.Entry) *backend.Entry {
			if e != nil && len(e.Value) == 0 {
				return nil
			}
			return e
		})
	}},
	{name: "values pass through text", caught: []string{"any bytes are a value"}, breaks: func(h *hooks) {
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			return h.Backend.Put(ctx, key, []byte(strings.ToValidUTF8(string(value), "?")), opts)
		}
	}},
	{name: "a write in seven is lost", caught: []string{"random changes agree with a map", "histories are linearizable", "List has 2,500 keys"}, breaks: func(h *hooks) {
		var n atomic.Uint64
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			if n.Add(1)%7 != 0 {
				return h.Backend.Put(ctx, key, value, opts)
			}
			e, err := h.Backend.Get(ctx, key, backend.GetOptions{})
			if err != nil || e == nil {
				return n.Load(), err
			}
			return e.ModifyIndex + 1, nil
		}
	}},
	{name: "keys are cleaned as paths", caught: []string{"keys that differ in one byte are different keys"}, breaks: func(h *hooks) {
		h.renames(path.Clean)
	}},
	{name: "keys ignore case", caught: []string{"keys that differ in one byte are different keys"}, breaks: func(h *hooks) {
		h.renames(strings.ToLower)
	}},
	{name: "a leading slash is dropped", caught: []string{"keys that the contract forbids are invalid"}, breaks: func(h *hooks) {
		h.renames(func(key string) string { return strings.TrimLeft(key, "/") })
	}},
	{name: "keys are cut at the limit", caught: []string{"a key may be as long as the limit"}, breaks: func(h *hooks) {
		h.renames(func(key string) string { return key[:min(len(key), h.Limits().MaxKeySize)] })
	}},
	{name: "bytes are shared among readers", caught: []string{"returned bytes belong to the caller"}, breaks: func(h *hooks) {
		var shared sync.Map
		h.entry(func(_ string, e *backend.Entry) *backend.Entry {
			if e == nil {
				return nil
			}
			kept, _ := shared.LoadOrStore(e.ModifyIndex, e)
			return kept.(*backend.Entry)
		})
	}},
	{name: "bytes are shared among listings", caught: []string{"returned bytes belong to the caller"}, breaks: func(h *hooks) {
		var shared sync.Map
		h.result(func(_ backend.ListQuery, res *backend.ListResult) {
			for i, it := range res.Items {
				if it.Entry != nil {
					kept, _ := shared.LoadOrStore(it.Entry.ModifyIndex, it.Entry)
					res.Items[i].Entry = kept.(*backend.Entry)
				}
			}
		})
	}},
	{name: "the caller's slice is kept", caught: []string{"the value passed in is not kept"}, breaks: func(h *hooks) {
		var kept sync.Map
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			kept.Store(key, value)
			return h.Backend.Put(ctx, key, value, opts)
		}
		h.entry(func(key string, e *backend.Entry) *backend.Entry {
			if value, ok := kept.Load(key); ok && e != nil {
				e.Value = value.([]byte)
			}
			return e
		})
	}},
	{name: "flags pass through a float", caught: []string{"flags keep all 64 bits"}, breaks: func(h *hooks) {
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			opts.Flags = opts.Flags >> 11 << 11
			return h.Backend.Put(ctx, key, value, opts)
		}
	}},
	{name: "flags are dropped", caught: []string{"Pop takes the entry away", "List gives whole entries when values are asked for"}, breaks: func(h *hooks) {
		h.entry(func(_ string, e *backend.Entry) *backend.Entry {
			if e != nil {
				e.Flags = 0
			}
			return e
		})
		h.pop = func(ctx context.Context, key string) (*backend.Entry, error) {
			e, err := h.Backend.Pop(ctx, key)
			if e != nil {
				e.Flags = 0
			}
			return e, err
		}
	}},
	{name: "the create index follows the modify index", caught: []string{"the modify index grows and the create index stays", "Get gives back what Put stored"}, breaks: func(h *hooks) {
		h.entry(func(_ string, e *backend.Entry) *backend.Entry {
			if e != nil {
				e.CreateIndex = e.ModifyIndex
			}
			return e
		})
	}},
	{name: "the index restarts after a delete", caught: []string{"the modify index never restarts", "IfAbsent creates a key once", "a condition does not hold for a key that was made again", "histories are linearizable"}, breaks: restart},
	{name: "a stale read never catches up", waits: true, caught: []string{"a stale read catches up"}, breaks: func(h *hooks) {
		var first sync.Map
		h.get = func(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
			e, err := h.Backend.Get(ctx, key, opts)
			if opts.Stale && e != nil {
				kept, _ := first.LoadOrStore(key, e)
				e = kept.(*backend.Entry).Clone()
			}
			return e, err
		}
	}},
	{name: "one read in five is old", caught: []string{"histories are linearizable"}, breaks: func(h *hooks) {
		var first sync.Map
		var n atomic.Uint64
		h.entry(func(key string, e *backend.Entry) *backend.Entry {
			if e == nil {
				return nil
			}
			kept, _ := first.LoadOrStore(key, e)
			if n.Add(1)%5 == 0 {
				return kept.(*backend.Entry).Clone()
			}
			return e
		})
	}},
	{name: "deletes are forgotten", caught: []string{"a deleted key is gone", "a folder goes with its last key", "random changes agree with a map"}, breaks: func(h *hooks) {
		h.delete = func(context.Context, string, backend.DeleteOptions) error { return nil }
	}},
	{name: "deleting a missing key is an error", caught: []string{"deleting a missing key is no error"}, breaks: func(h *hooks) {
		h.delete = func(ctx context.Context, key string, opts backend.DeleteOptions) error {
			if e, err := h.Backend.Get(ctx, key, backend.GetOptions{}); e == nil && err == nil {
				return backend.Errorf(backend.Conflict, key, "not found")
			}
			return h.Backend.Delete(ctx, key, opts)
		}
	}},
	{name: "too large a value is cut", caught: []string{"a value may be as large as the limit"}, breaks: func(h *hooks) {
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			return h.Backend.Put(ctx, key, value[:min(len(value), h.Limits().MaxValueSize)], opts)
		}
	}},
	{name: "a value at the limit is refused", caught: []string{"a value may be as large as the limit"}, breaks: func(h *hooks) {
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			if len(value) == h.Limits().MaxValueSize {
				return 0, backend.Errorf(backend.TooLarge, key, "put failed due to value being too large")
			}
			return h.Backend.Put(ctx, key, value, opts)
		}
	}},
	{name: "too large a value has other words", caught: []string{"a value may be as large as the limit"}, breaks: func(h *hooks) {
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			index, err := h.Backend.Put(ctx, key, value, opts)
			if backend.CodeOf(err) == backend.TooLarge {
				err = backend.Errorf(backend.TooLarge, key, "the value is too large")
			}
			return index, err
		}
	}},
}

// renames changes the keys of all operations on one key.
func (h *hooks) renames(name func(key string) string) {
	h.get = func(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
		e, err := h.Backend.Get(ctx, name(key), opts)
		if e != nil {
			e.Key = key
		}
		return e, err
	}
	h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
		return h.Backend.Put(ctx, name(key), value, opts)
	}
	h.delete = func(ctx context.Context, key string, opts backend.DeleteOptions) error {
		return h.Backend.Delete(ctx, name(key), opts)
	}
}

// restart makes the index of a key count from 1 again after each delete.
func restart(h *hooks) {
	var mu sync.Mutex
	newest, base := map[string]uint64{"": 1}, map[string]uint64{} // 1 is no index
	h.get = func(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
		mu.Lock()
		defer mu.Unlock()
		e, err := h.Backend.Get(ctx, key, opts)
		if e != nil {
			e.ModifyIndex -= base[key]
			e.CreateIndex -= base[key]
		}
		return e, err
	}
	h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
		mu.Lock()
		defer mu.Unlock()
		if e, _ := h.Backend.Get(ctx, key, backend.GetOptions{}); e == nil {
			base[key] = newest[""]
		}
		if n, ok := opts.If.Index(); ok && n > 0 {
			opts.If = backend.IfIndex(n + base[key])
		}
		index, err := h.Backend.Put(ctx, key, value, opts)
		if err != nil {
			return 0, err
		}
		newest[""] = index
		return index - base[key], nil
	}
	h.delete = func(ctx context.Context, key string, opts backend.DeleteOptions) error {
		mu.Lock()
		defer mu.Unlock()
		if n, ok := opts.If.Index(); ok && n > 0 {
			opts.If = backend.IfIndex(n + base[key])
		}
		err := h.Backend.Delete(ctx, key, opts)
		if err == nil {
			newest[""]++
		}
		return err
	}
}

var conditionFaults = []fault{
	{name: "Put ignores its condition", caught: []string{
		"IfAbsent creates a key once", "Put IfIndex replaces that version only", "a conflict changes nothing", "a counter under IfIndex loses no increment",
		"of many creators under IfAbsent exactly one wins", "random changes agree with a map",
	}, breaks: func(h *hooks) {
		var w window
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			w.enter()
			return h.Backend.Put(ctx, key, value, backend.PutOptions{Flags: opts.Flags})
		}
	}},
	{name: "Delete ignores its condition", caught: []string{
		"Delete IfIndex removes that version only", "Delete IfIndex of a missing key conflicts unless it asks for 0", "a condition does not hold for a key that was made again",
	}, breaks: func(h *hooks) {
		h.delete = func(ctx context.Context, key string, _ backend.DeleteOptions) error {
			return h.Backend.Delete(ctx, key, backend.DeleteOptions{})
		}
	}},
	{name: "a condition is checked before the change, not with it", caught: []string{"a counter under IfIndex loses no increment", "of many creators under IfAbsent exactly one wins"}, breaks: func(h *hooks) {
		var w window
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			e, err := h.Backend.Get(ctx, key, backend.GetOptions{})
			if err != nil {
				return 0, err
			}
			var index uint64
			if e != nil {
				index = e.ModifyIndex
			}
			w.enter()
			if !opts.If.Holds(index) {
				return 0, backend.Errorf(backend.Conflict, key, "changed")
			}
			return h.Backend.Put(ctx, key, value, backend.PutOptions{Flags: opts.Flags})
		}
	}},
	{name: "a conflict removes the key", caught: []string{"a conflict changes nothing"}, breaks: func(h *hooks) {
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			index, err := h.Backend.Put(ctx, key, value, opts)
			if backend.CodeOf(err) == backend.Conflict {
				_ = h.Backend.Delete(ctx, key, backend.DeleteOptions{})
			}
			return index, err
		}
	}},
	{name: "errors are not of the contract", caught: []string{"Put IfIndex replaces that version only"}, breaks: func(h *hooks) {
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			index, err := h.Backend.Put(ctx, key, value, opts)
			if err != nil {
				err = fmt.Errorf("%v", err)
			}
			return index, err
		}
	}},
	{name: "errors have no message", caught: []string{"Put IfIndex replaces that version only"}, breaks: func(h *hooks) {
		h.put = func(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
			index, err := h.Backend.Put(ctx, key, value, opts)
			if err != nil {
				err = &backend.Error{Code: backend.CodeOf(err), Key: key}
			}
			return index, err
		}
	}},
}

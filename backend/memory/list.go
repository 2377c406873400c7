package memory

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/backend"
)

// List answers q from one instant. Its Index is never older than the prefix's last
// change, and newer only if deletions have been forgotten since.
func (s *Store) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if err := s.limits.CheckList(q); err != nil {
		return nil, err
	}
	if err := checkContext(ctx, ""); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.checkOpen(""); err != nil {
		return nil, err
	}
	return s.list(q, nil), nil
}

// list answers q as if pending had been written, where nil is a deleted key. The
// caller holds mu.
func (s *Store) list(q backend.ListQuery, pending map[string]*backend.Entry) *backend.ListResult {
	res := &backend.ListResult{Index: s.forgotten}
	for key := range s.deletedKeys.under(q.Prefix) {
		res.Index = max(res.Index, s.deleted[key])
	}
	// A folded name begins its keys, so a key below After has a name below it.
	for key, e := range s.walk(max(q.Prefix, q.After), pending) {
		if !strings.HasPrefix(key, q.Prefix) {
			break
		}
		name, folded := q.Fold(key)
		if name <= q.After {
			continue
		}
		// Names come in byte order as keys do, so the keys of one folded name
		// follow each other.
		if n := len(res.Items); n == 0 || res.Items[n-1].Name != name {
			if q.Limit > 0 && n == q.Limit {
				res.More = true
				break
			}
			item := backend.ListItem{Name: name, Folded: folded}
			if q.Values && !folded {
				item.Entry = e.Clone()
			}
			res.Items = append(res.Items, item)
		}
		res.Index = max(res.Index, e.ModifyIndex)
	}
	return res
}

// walk yields the keys from start on with what is at them, as if pending had been
// written. The caller holds mu.
func (s *Store) walk(start string, pending map[string]*backend.Entry) func(yield func(string, *backend.Entry) bool) {
	return func(yield func(string, *backend.Entry) bool) {
		own := keyset(slices.Sorted(maps.Keys(pending))).from(start)
		stored := s.keys.from(start)
		for len(own) > 0 || len(stored) > 0 {
			var key string
			if len(own) == 0 || len(stored) > 0 && stored[0] < own[0] {
				key = stored[0]
			} else {
				key = own[0]
			}
			e := s.entries[key]
			if len(stored) > 0 && stored[0] == key {
				stored = stored[1:]
			}
			if len(own) > 0 && own[0] == key {
				own, e = own[1:], pending[key]
			}
			if e != nil && !yield(key, e) {
				return
			}
		}
	}
}

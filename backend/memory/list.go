package memory

import (
	"context"
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/backend"
)

// List answers q from one instant. Deletes leave no trace here except for the
// newest delete of the whole store, so ListResult.Index is at least that: it may
// be newer than the prefix's last change, never older.
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

	res := &backend.ListResult{Index: s.deleted}
	// A folded name begins its keys, so a key below After has a name below it.
	from, _ := slices.BinarySearch(s.keys, max(q.Prefix, q.After))
	for _, key := range s.keys[from:] {
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
				item.Entry = s.entries[key].Clone()
			}
			res.Items = append(res.Items, item)
		}
		res.Index = max(res.Index, s.entries[key].ModifyIndex)
	}
	return res, nil
}

package moving

import (
	"context"
	"fmt"
	"strings"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Others says what becomes of the keys that the backend has under the prefix and the
// source has not.
type Others string

// What is done with others. A Vault would take up tokens, leases and policies again
// that are deleted at the source, so RefuseOthers is the default for its keys;
// KeepOthers is that for all else.
const (
	// RefuseOthers writes nothing where there are others.
	RefuseOthers Others = "refuse"
	// KeepOthers counts them.
	KeepOthers Others = "keep"
	// DeleteOthers deletes them when all is written, unless somebody changes them
	// meanwhile.
	DeleteOthers Others = "delete"
)

// AllOthers are those that an Import takes.
func AllOthers() []Others { return []Others{RefuseOthers, KeepOthers, DeleteOthers} }

// stranger is a key that the source does not have, and its modify index.
type stranger struct {
	key   string
	index uint64
}

// strangers calls found with every key under the prefix that the source does not
// have. What a Vault keeps there for itself, such as who is active, is none.
func (m *Import) strangers(ctx context.Context, found func(key string) error) error {
	next := 0
	_, err := pages(ctx, m.Backend, m.Timeout, backend.ListQuery{Prefix: m.Prefix}, func(it *backend.ListItem) error {
		for next < len(m.items) && m.items[next].key < it.Name {
			next++
		}
		switch {
		case next < len(m.items) && m.items[next].key == it.Name:
			return nil
		case m.from.vault && staysBehind(strings.TrimPrefix(it.Name, m.Prefix)):
			return nil
		}
		return found(it.Name)
	})
	return err
}

// planOthers notes what is to become of the others.
func (m *Import) planOthers(ctx context.Context) error {
	err := m.strangers(ctx, func(key string) error {
		switch m.Others {
		case RefuseOthers:
			m.moved.Refused.add(key, "the source does not have it")
			return nil
		case DeleteOthers:
			if len(m.items)+len(m.strange) == m.limit {
				return fmt.Errorf("%s and the keys that it does not have are more than %d", m.Path, m.limit)
			}
			m.strange = append(m.strange, stranger{key: key})
			m.moved.Deleted++
		}
		m.moved.Others.add(key, "the source does not have it")
		return nil
	})
	if err != nil || m.DryRun {
		return err
	}
	for i := range m.strange {
		s := &m.strange[i]
		e, err := m.get(ctx, s.key)
		if err != nil {
			return fmt.Errorf("look at key %q, which is to be deleted: %w", s.key, err)
		}
		if e != nil {
			s.index = e.ModifyIndex
		}
	}
	return nil
}

// deleteOthers deletes the others that are to be deleted.
func (m *Import) deleteOthers(ctx context.Context) error {
	todo := m.moved.Deleted
	if m.DryRun || todo == 0 {
		return nil
	}
	done, err := crew(ctx, todo, m.delete, func(ctx context.Context, jobs chan<- stranger, done func() int) error {
		for _, s := range m.strange {
			select {
			case jobs <- s:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			m.Show(Progress{Doing: "deleted", Keys: done(), Of: todo})
		}
		return nil
	})
	if m.moved.Deleted = done; err != nil {
		return fmt.Errorf("all was written, and then %s of %d deleted: %w; run it again to go on", keys(done), todo, err)
	}
	return nil
}

// delete deletes a key that must be as it was when it was looked at. One whose
// deletion was in doubt may be gone already.
func (m *Import) delete(ctx context.Context, s stranger) error {
	for try := 0; s.index > 0; try++ { // else it was gone when it was looked at
		_, err := patiently(ctx, m.Timeout, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, m.Backend.Delete(ctx, s.key, backend.DeleteOptions{If: backend.IfIndex(s.index)})
		})
		if backend.CodeOf(err) != backend.Conflict {
			return err
		}
		switch there, got := m.get(ctx, s.key); {
		case got != nil:
			return got
		case there == nil:
			return nil
		case there.ModifyIndex != s.index:
			return fmt.Errorf("somebody else wrote it meanwhile: %w", err)
		case try == retries:
			return err
		}
	}
	return nil
}

// verifyOthers looks whether others came meanwhile, where there are to be none.
func (m *Import) verifyOthers(ctx context.Context) error {
	if m.Others == KeepOthers {
		return nil
	}
	came := 0
	err := m.strangers(ctx, func(key string) error {
		came++
		m.moved.Refused.add(key, "the source does not have it, and it came meanwhile")
		return nil
	})
	if err == nil && came > 0 {
		err = fmt.Errorf("%s came meanwhile that the source does not have: somebody else writes here", keys(came))
	}
	return err
}

func (m *Import) get(ctx context.Context, key string) (*backend.Entry, error) {
	return patiently(ctx, m.Timeout, func(ctx context.Context) (*backend.Entry, error) {
		return m.Backend.Get(ctx, key, backend.GetOptions{})
	})
}

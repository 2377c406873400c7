package store

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Held is a key that a session holds.
type Held struct{ Session, Key string }

// HeldOptions says which to return.
type HeldOptions struct {
	// Session is whose keys; empty stands for those of all sessions, in the order
	// of the lengths of their names, and then of the names.
	Session string
	// After is where the page begins: behind that one.
	After Held
	// Limit is the most rows to look at, stale ones among them; 0 stands for
	// DefaultScanLimit.
	Limit int
}

// HeldPage is a page of held keys.
type HeldPage struct {
	Held []Held
	// Next is where the next page begins, if there is More.
	Next Held
	More bool
}

// Held returns a page of the keys whose cells name a session: as the one that
// holds the key, or that is to hold it once an intent is applied. Whether the
// session lives is not said. What it says is durable when it returns, and a cell
// that was durable when it was called is not missed. It fails as Scan does.
func (s *Store) Held(ctx context.Context, opts HeldOptions) (HeldPage, error) {
	var page HeldPage
	lower, upper := []byte{tableHeld}, []byte{tableHeld + 1}
	if opts.Session != "" {
		lower = appendHeldPrefix(nil, opts.Session)
		upper = above(lower)
	}
	if opts.After != (Held{}) {
		lower = maxBytes(lower, append(append(appendHeldPrefix(nil, opts.After.Session), opts.After.Key...), 0))
	}
	last, more, err := s.scanIndex(ctx, lower, upper, opts.Limit, func(row []byte) error {
		h, err := decodeHeld(row)
		page.Held = append(page.Held, h)
		return err
	})
	if err != nil {
		return HeldPage{}, fmt.Errorf("store: keys of sessions: %w", err)
	}
	if page.More = more; more {
		page.Next, err = decodeHeld(last)
	}
	return page, err
}

// ExpiringPage is a page of keys that do not last for ever.
type ExpiringPage struct {
	Keys []string
	// Next is where the next page begins, if there is More.
	Next string
	More bool
}

// Expiring returns a page of the keys above after whose cells have Expires,
// internal ones among them; limit is as in HeldOptions, and for the rest it is as
// Held.
func (s *Store) Expiring(ctx context.Context, after string, limit int) (ExpiringPage, error) {
	var page ExpiringPage
	lower := []byte{tableExpiring}
	if after != "" {
		lower = append(append(lower, after...), 0)
	}
	last, more, err := s.scanIndex(ctx, lower, []byte{tableExpiring + 1}, limit, func(row []byte) error {
		page.Keys = append(page.Keys, string(row[1:]))
		return nil
	})
	if err != nil {
		return ExpiringPage{}, fmt.Errorf("store: expiring keys: %w", err)
	}
	if page.More = more; more {
		page.Next = string(last[1:])
	}
	return page, nil
}

// scanIndex calls f with the rows of an index that tell the truth, at most limit
// of all. It returns the last one that it looked at.
func (s *Store) scanIndex(ctx context.Context, lower, upper []byte, limit int, f func(row []byte) error) (last []byte, more bool, err error) {
	if limit <= 0 {
		limit = DefaultScanLimit
	}
	var stale [][]byte
	if last, more, err = s.readIndex(ctx, lower, upper, limit, f, &stale); err != nil {
		return nil, false, err
	}
	s.pruneLater(stale)
	return last, more, s.settled(ctx)
}

// readIndex is scanIndex, and notes stale rows.
func (s *Store) readIndex(ctx context.Context, lower, upper []byte, limit int, f func(row []byte) error, stale *[][]byte) (last []byte, more bool, err error) {
	if bytes.Compare(lower, upper) >= 0 {
		return nil, false, ctx.Err()
	}
	if err := s.use(); err != nil {
		return nil, false, err
	}
	defer s.release()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		s.disk.fail(err)
		return nil, false, s.disk.err()
	}
	err = func() error {
		n := 0
		for ok := it.First(); ok; ok = it.Next() {
			if n%scanCheck == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if n == limit {
				more = true
				return nil
			}
			n++
			last = append(last[:0], it.Key()...)
			old, err := s.isStale(last)
			switch {
			case err != nil:
				return err
			case !old:
				err = f(last)
			case len(*stale) < maxStale:
				*stale = append(*stale, bytes.Clone(last))
			}
			if err != nil {
				s.disk.fail(err)
				return err
			}
		}
		return nil
	}()
	if e := it.Close(); e != nil && err == nil {
		s.disk.fail(e)
		err = e
	}
	if failed := s.disk.err(); failed != nil && ctx.Err() == nil {
		return nil, false, failed
	}
	return last, more, err
}

// ExpiringChanges is as Changes, of cells with Expires and of sessions.
func (s *Store) ExpiringChanges(since uint64) (keys []string, counter uint64, ok bool) {
	return s.expiring.since(since, func(string) bool { return true })
}

// ExpiringCounter returns the counter of ExpiringChanges as of now.
func (s *Store) ExpiringCounter() uint64 { return s.expiring.now() }

// isExpiring reports whether ExpiringChanges tells of a write.
func isExpiring(w *register.Write) bool {
	return w.Cell.Value.Expires > 0 || strings.HasPrefix(w.Key, register.SessionPrefix)
}

func maxBytes(a, b []byte) []byte {
	if bytes.Compare(a, b) < 0 {
		return b
	}
	return a
}

package store

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// The limits of a page of Scan where its options name none.
const (
	DefaultScanLimit = 1000
	DefaultScanBytes = 4 << 20
)

// cellOverhead is what a cell counts besides its key and data.
const cellOverhead = 64

// scanCheck is after how many cells a scan looks at its context.
const scanCheck = 256

// ScanOptions says what to scan.
type ScanOptions struct {
	// Prefix is what the keys begin with. Internal keys, whose first byte is 0,
	// are left out unless it begins with that byte.
	Prefix string
	// After is a key, or anything else, that all keys must be above.
	After string
	// Limit is the most cells in a page, or to look at with Where; 0 stands for
	// DefaultScanLimit.
	Limit int
	// Bytes is the most bytes of keys and values in a page, which has a cell at
	// least; 0 stands for DefaultScanBytes.
	Bytes int
	// Values asks for the data of the cells too.
	Values bool
	// Internal asks for internal keys too where Prefix is empty.
	Internal bool
	// Where, unless nil, says which cells are wanted.
	Where func(v *register.Value) bool
}

// KeyCell is a key and its cell.
type KeyCell struct {
	Key  string
	Cell register.Cell
}

// ScanResult is a page of cells, tombstones included.
type ScanResult struct {
	// Cells are sorted by the bytes of their keys. They are the caller's.
	Cells []KeyCell
	// More reports that there are more cells after the last one that was looked at,
	// of which Next is the key.
	More bool
	Next string
	// Counter was taken before the scan: Changes since it reports every key of
	// which the scan may have missed the newest cell.
	Counter uint64
}

// Scan reads a page of cells. All of them are as of one moment, and durable when
// it returns. A read error, or a cell that cannot be decoded, fails the store.
func (s *Store) Scan(ctx context.Context, opts ScanOptions) (ScanResult, error) {
	res, err := s.scan(ctx, opts)
	if err != nil {
		return ScanResult{}, fmt.Errorf("store: scan %q: %w", opts.Prefix, err)
	}
	return res, nil
}

func (s *Store) scan(ctx context.Context, opts ScanOptions) (ScanResult, error) {
	if opts.Limit <= 0 {
		opts.Limit = DefaultScanLimit
	}
	if opts.Bytes <= 0 {
		opts.Bytes = DefaultScanBytes
	}
	res := ScanResult{Counter: s.changes.now()}
	if err := s.scanCells(ctx, opts, &res); err != nil {
		return ScanResult{}, err
	}
	if err := s.settled(ctx); err != nil {
		return ScanResult{}, err
	}
	return res, nil
}

// settled waits until what an iterator showed before is durable: it was, or was in
// the batch that was under way when the iterator was made; that batch has ended, or
// is the one under way now.
func (s *Store) settled(ctx context.Context) error {
	if durable := s.commits.wait(); durable != nil {
		select {
		case <-durable:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.disk.err()
}

// scanCells fills a page.
func (s *Store) scanCells(ctx context.Context, opts ScanOptions, res *ScanResult) error {
	lower, upper := cellBounds(opts.Prefix, opts.After, opts.Internal)
	if bytes.Compare(lower, upper) >= 0 {
		return ctx.Err()
	}
	if err := s.use(); err != nil {
		return err
	}
	defer s.release()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		s.disk.fail(err)
		return s.disk.err()
	}
	size := 0
	err = func() error {
		looked := 0
		for ok := it.First(); ok; ok = it.Next() {
			if looked%scanCheck == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if looked >= opts.Limit {
				res.More = true
				return nil
			}
			c, wanted, err := readCell(it, opts)
			if err != nil {
				s.disk.fail(err)
				return err
			}
			size += len(c.Key) + c.Cell.Value.Size() + cellOverhead
			if size > opts.Bytes && len(res.Cells) > 0 {
				res.More = true
				return nil
			}
			looked++
			if res.Next = c.Key; wanted {
				res.Cells = append(res.Cells, c)
			} else {
				size -= len(c.Key) + c.Cell.Value.Size() + cellOverhead
			}
		}
		return nil
	}()
	if e := it.Close(); e != nil && err == nil {
		s.disk.fail(e)
		err = e
	}
	if failed := s.disk.err(); failed != nil && ctx.Err() == nil {
		return failed
	}
	return err
}

// readCell returns the cell that an iterator stands on, a copy, and whether it is
// wanted.
func readCell(it *pebble.Iterator, opts ScanOptions) (c KeyCell, wanted bool, err error) {
	c.Key = string(it.Key()[1:])
	v, err := it.ValueAndErr()
	if err != nil {
		return c, false, fmt.Errorf("read %q: %w", c.Key, err)
	}
	if c.Cell, err = register.DecodeCell(v); err != nil {
		return c, false, fmt.Errorf("read %q: %w", c.Key, err)
	}
	wanted = opts.Where == nil || opts.Where(&c.Cell.Value)
	if opts.Values {
		c.Cell.Value.CloneData()
	} else {
		c.Cell.Value.DropData()
	}
	return c, wanted, nil
}

// cellBounds returns the first row that a scan may show and the first behind it.
func cellBounds(prefix, after string, internal bool) (lower, upper []byte) {
	lower = appendCellKey(nil, prefix)
	upper = above(lower)
	if prefix == "" && !internal {
		lower = append(lower, 1) // the internal keys are below
	}
	if from := append(appendCellKey(nil, after), 0); after != "" && bytes.Compare(from, lower) > 0 {
		lower = from
	}
	return lower, upper
}

// above returns the first row that does not begin with prefix and is above it.
func above(prefix []byte) []byte {
	upper := bytes.Clone(prefix)
	for i := len(upper) - 1; ; i-- { // the table's byte is below 255, so this ends
		if upper[i]++; upper[i] != 0 {
			return upper[:i+1]
		}
	}
}

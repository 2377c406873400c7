package opentx

import (
	"context"

	"github.com/chord-plugin/chord-plugin/backend"
)

// MaxBytes is how many bytes the writes of all open transactions of a Table may have
// together: keys and values, each key once a transaction. It is as much as 32 of the
// largest have. Above it writes fail with backend.NotReady and change nothing.
const MaxBytes = 256 << 20

// metered is a transaction whose writes count.
type metered[ID comparable] struct {
	backend.Tx
	table *Table[ID]
	entry *entry
}

// Put stores value at key, if there is room for it.
func (m *metered[ID]) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
	return m.write(key, len(value), func() error { return m.Tx.Put(ctx, key, value, opts) })
}

// Delete removes key, if there is room to note that.
func (m *metered[ID]) Delete(ctx context.Context, key string, opts backend.DeleteOptions) error {
	return m.write(key, 0, func() error { return m.Tx.Delete(ctx, key, opts) })
}

// write runs f, which writes so many bytes at key. What fails leaves the transaction as
// it was, and counts no more.
func (m *metered[ID]) write(key string, size int, f func() error) error {
	before, err := m.table.keep(m.entry, key, len(key)+size)
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		m.table.restore(m.entry, key, len(key)+size, before)
		return err
	}
	return nil
}

// keep counts n bytes of a transaction at key instead of those before, which it
// returns.
func (t *Table[ID]) keep(e *entry, key string, n int) (before int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before = e.kept[key]
	if n > before && t.kept+n-before > MaxBytes {
		return 0, backend.Errorf(backend.NotReady, key, "the open transactions have written %d bytes, these would be %d more, and together they may have %d; "+
			"the transaction is as it was: commit others or roll them back, and try again", t.kept, n-before, MaxBytes)
	}
	t.set(e, key, n)
	return before, nil
}

// restore undoes a keep, unless another write of the key came after it.
func (t *Table[ID]) restore(e *entry, key string, n, before int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.kept[key] == n {
		t.set(e, key, before)
	}
}

// set counts n bytes at key. The caller holds mu.
func (t *Table[ID]) set(e *entry, key string, n int) {
	t.kept += n - e.kept[key]
	if e.kept[key] = n; n == 0 {
		delete(e.kept, key)
	}
}

// free counts a transaction no more that is over. The caller holds mu.
func (t *Table[ID]) free(e *entry) {
	for _, n := range e.kept {
		t.kept -= n
	}
	clear(e.kept)
}

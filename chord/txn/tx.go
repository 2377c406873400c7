package txn

import (
	"slices"
	"time"
)

// Tx is a transaction: it reads what it wrote, nothing it writes is seen before
// it commits, and what it read still held at the moment it commits at
// (serializability; with the order of real time, too). Before that, what it reads
// at two moments need not fit together. It is used by one goroutine at a time.
type Tx struct {
	c        *Coordinator
	id       ID
	began    time.Duration
	readOnly bool
	over     bool
	// oneShot transactions let a pending one that is in the way of a key to be
	// written end first.
	oneShot bool
	// guards: keys that are read get intents, too, that change nothing. So the
	// oldest of many that contend wins, however many write what it reads.
	guards bool

	reads  map[string]Cell
	ranges []rangeRead
	// sessions must be alive at the end; asked answers.
	sessions []string
	asked    Sessions
	writes   map[string]Write
	// bytes counts what is written, readBytes and readKeys what was read.
	bytes, readBytes, readKeys int
}

// rangeRead is a range that was listed, and the cells that were in it, without
// their data.
type rangeRead struct {
	q     Range
	cells map[string]Cell
}

// Begin starts an interactive transaction.
func (c *Coordinator) Begin(r Registers, readOnly bool) (*Tx, error) {
	tx := c.begin(r, ID{})
	tx.readOnly = readOnly
	if !readOnly {
		start, err := r.NewID()
		if err != nil {
			return nil, unavailable("", err)
		}
		tx.id.Start = start
	}
	return tx, nil
}

func (c *Coordinator) begin(r Registers, id ID) *Tx {
	return &Tx{c: c, id: id, began: r.Now(), reads: map[string]Cell{}, writes: map[string]Write{}}
}

// usable returns an error if the transaction is over, or too old to go on: then
// nothing of it has happened, nor will.
func (tx *Tx) usable(r Registers) error {
	if tx.over {
		return &Error{Kind: Over, Message: "the transaction was committed or rolled back before; begin another"}
	}
	if r.Now()-tx.began > tx.c.cfg.Life {
		return conflict("", "the transaction is older than "+tx.c.cfg.Life.String()+"; begin another")
	}
	return nil
}

// Get returns what the transaction sees at a key. The stamp of what it wrote
// itself is 0: it is not known before the commit.
func (tx *Tx) Get(r Registers, key string) (Cell, error) {
	if err := tx.usable(r); err != nil {
		return Cell{}, err
	}
	w, wrote := tx.writes[key]
	if wrote && !(w.Live && w.KeepLock) {
		return Cell{Content: w.Content}, nil
	}
	cell, err := tx.read(r, key, tx.oneShot)
	if wrote && err == nil {
		cell = Cell{Content: w.Onto(cell)}
	}
	return cell, err
}

// read is a read that the commit will depend on.
func (tx *Tx) read(r Registers, key string, wait bool) (Cell, error) {
	if cell, ok := tx.reads[key]; ok {
		return cell, nil
	}
	cell, err := tx.c.read(r, key, ID{}, wait)
	if err != nil {
		return Cell{}, err
	}
	return cell, tx.remember(key, cell)
}

func (tx *Tx) remember(key string, cell Cell) error {
	if err := tx.count(1, len(cell.Data)); err != nil {
		return err
	}
	tx.reads[key] = cell
	return nil
}

// count adds to what was read.
func (tx *Tx) count(keys, bytes int) error {
	if tx.readKeys += keys; tx.readKeys > MaxReads {
		return tooLarge("", "a transaction may read %d keys; list smaller parts, or outside of a transaction", MaxReads)
	}
	if tx.readBytes += bytes; tx.readBytes > MaxReadBytes {
		return tooLarge("", "a transaction may read values of %d bytes together; list without values, or outside of a transaction", MaxReadBytes)
	}
	return nil
}

// Put stores a value when the transaction commits. The key keeps its lock.
func (tx *Tx) Put(r Registers, key string, data []byte, flags uint64) error {
	return tx.write(r, key, Write{Content: Content{Live: true, Data: slices.Clone(data), Flags: flags}, KeepLock: true})
}

// Delete deletes a key when the transaction commits.
func (tx *Tx) Delete(r Registers, key string) error { return tx.write(r, key, Write{}) }

func (tx *Tx) write(r Registers, key string, w Write) error {
	if err := tx.usable(r); err != nil {
		return err
	}
	if tx.readOnly {
		return &Error{Kind: ReadOnly, Key: key, Message: "the transaction is read-only"}
	}
	old, again := tx.writes[key]
	bytes := tx.bytes + len(key) + len(w.Data)
	if again {
		bytes -= len(key) + len(old.Data)
	}
	switch {
	case bytes > MaxBytes:
		return tooLarge(key, "a transaction may write keys and values of %d bytes together and has %d", MaxBytes, bytes)
	case !again && len(tx.writes) == MaxWrites:
		return tooLarge(key, "a transaction may write %d keys", MaxWrites)
	}
	if again && w.KeepLock && !(old.Live && old.KeepLock) {
		// What it keeps is what the transaction put there before.
		w.Content = w.Onto(Cell{Content: old.Content})
		w.KeepLock = false
	}
	tx.bytes = bytes
	tx.writes[key] = w
	return nil
}

// Rollback ends a transaction without a trace. Rolling back one that is over is
// no error.
func (tx *Tx) Rollback() { tx.over = true }

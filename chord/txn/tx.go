package txn

import (
	"bytes"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
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
	// lost is the conflict that a read has met: the transaction can not commit.
	lost error
	// oneShot transactions let a pending one that is in the way of a read end first.
	oneShot bool
	// guards: keys that are read get intents, too, that change nothing. So the
	// oldest of many that contend wins, however many write what it reads.
	guards bool
	// maxWrites and calls left.
	maxWrites, calls int

	// reads are without the past and intents; ranges what was listed.
	reads  map[string]register.Value
	ranges []rangeRead
	// sessions must live at the end, as must those that hold what was read; the lock
	// delays of delays must be running.
	sessions, delays []string
	// asked: other sessions were looked at, for more than one operation.
	asked bool
	// writes are as Place takes them.
	writes map[string]register.Change
	// fences, by lock: see Fence.
	fences []register.Fence
	// newest is the newest stamp of the last list.
	newest uint64
	// bytes counts what is written, readBytes and readKeys what was read.
	bytes, readBytes, readKeys int
}

// rangeRead is a range that was listed, and what was in it.
type rangeRead struct {
	q    Range
	keys map[string]seen
}

// Begin starts an interactive transaction.
func (c *Coordinator) Begin(r Registers, readOnly bool) (*Tx, error) {
	tx := c.begin(r, ID{})
	tx.readOnly, tx.maxWrites, tx.calls = readOnly, MaxOps, MaxCalls
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
	return &Tx{c: c, id: id, began: r.Now(), reads: map[string]register.Value{}, writes: map[string]register.Change{}}
}

// usable returns an error if the transaction is over, can not commit any more, or
// is too old to go on: then nothing of it has happened, nor will.
func (tx *Tx) usable(r Registers) error {
	switch {
	case tx.over:
		return &Error{Kind: Over, Message: "the transaction was committed or rolled back before; begin another"}
	case tx.lost != nil:
		return tx.lost
	case r.Now()-tx.began > tx.c.cfg.Life:
		tx.lost = conflict("", "the transaction is older than "+tx.c.cfg.Life.String()+"; begin another")
	}
	return tx.lost
}

// reading counts a call that reads, of an interactive transaction.
func (tx *Tx) reading(r Registers, key string) error {
	if err := tx.usable(r); err != nil {
		return err
	}
	if tx.oneShot {
		return nil
	}
	if tx.calls == 0 {
		return tooLarge(key, "a transaction may read %d times", MaxCalls)
	}
	tx.calls--
	return nil
}

// doomed notes a conflict that a read has met.
func (tx *Tx) doomed(err error) error {
	if KindOf(err) == Conflict {
		tx.lost = err
	}
	return err
}

// Get returns what the transaction sees at a key. What it wrote itself has no
// timestamps, nor a holder: they come with the commit.
func (tx *Tx) Get(r Registers, key string) (register.Value, error) {
	if err := tx.reading(r, key); err != nil {
		return register.Value{}, err
	}
	if w, wrote := tx.writes[key]; wrote {
		return w.Leaves(&register.Value{}), nil
	}
	return tx.read(r, key)
}

// read is a read that the commit will depend on.
func (tx *Tx) read(r Registers, key string) (register.Value, error) {
	if v, ok := tx.reads[key]; ok {
		return v, nil
	}
	v, err := tx.c.read(r, key, tx.oneShot)
	if err != nil {
		return register.Value{}, tx.doomed(err)
	}
	return v, tx.remember(key, v)
}

func (tx *Tx) remember(key string, v register.Value) error {
	if err := tx.count(1, len(v.Data)); err != nil {
		return err
	}
	tx.reads[key] = v
	return nil
}

// count adds to what was read.
func (tx *Tx) count(keys, size int) error {
	if tx.readKeys += keys; tx.readKeys > MaxReads {
		return tooLarge("", "a transaction may read %d keys; list smaller parts, or outside of a transaction", MaxReads)
	}
	if tx.readBytes += size; tx.readBytes > MaxReadBytes {
		return tooLarge("", "a transaction may read values of %d bytes together; list without values, or outside of a transaction", MaxReadBytes)
	}
	return nil
}

// Put stores a value when the transaction commits. The key keeps its holder.
func (tx *Tx) Put(r Registers, key string, data []byte, flags uint64, expires time.Duration) error {
	return tx.write(r, key, register.Change{Data: bytes.Clone(data), Flags: flags, Expires: expires})
}

// Delete deletes a key when the transaction commits.
func (tx *Tx) Delete(r Registers, key string) error {
	return tx.write(r, key, register.Change{Remove: true})
}

func (tx *Tx) write(r Registers, key string, w register.Change) error {
	if err := tx.usable(r); err != nil {
		return err
	}
	if tx.readOnly {
		return &Error{Kind: ReadOnly, Key: key, Message: "the transaction is read-only"}
	}
	old, again := tx.writes[key]
	size := tx.bytes + len(w.Data) - len(old.Data)
	switch {
	case size > MaxBytes:
		return tooLarge(key, "the transaction is too large: its values have %d bytes together and may have %d; split it", size, MaxBytes)
	case !again && len(tx.writes) == tx.maxWrites:
		return tooLarge(key, "a transaction may write %d keys", tx.maxWrites)
	}
	if again && !w.Remove {
		w.Fresh = old.Remove || old.Fresh
		if !w.Take && old.Take { // a plain write keeps the holder, also a new one
			w.Take, w.Holding = true, old.Holding
		}
	}
	tx.bytes = size
	tx.writes[key] = w
	return nil
}

// Rollback ends a transaction without a trace. Its error is that it was over
// before.
func (tx *Tx) Rollback() error {
	if tx.over {
		return &Error{Kind: Over, Message: "the transaction was committed or rolled back before"}
	}
	tx.over = true
	return nil
}

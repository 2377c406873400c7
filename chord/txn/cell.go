package txn

// Content is what a change leaves at a key.
type Content struct {
	// Live is false for a deletion; the rest is then zero.
	Live  bool
	Data  []byte
	Flags uint64
	// Session is the session that holds the key as a lock, or empty.
	Session string
	// LockIndex counts the holders that the key has had as a lock.
	LockIndex uint64
}

// Cell is what a register holds: what hosts see, and beside it an intent.
type Cell struct {
	Content
	// Create is the stamp of the change that created the key.
	Create uint64
	// Stamp is the timestamp of the last change that hosts could see, deletions
	// included; 0 where nothing is known to have been. Placing and removing an
	// intent do not change it.
	Stamp uint64
	// Intent is what a transaction means to put here, or nil.
	Intent *Intent
}

// Index returns the modify index that hosts see: 0 for a key that does not exist.
func (c *Cell) Index() uint64 {
	if !c.Live {
		return 0
	}
	return c.Stamp
}

// Intent is a change that takes effect when its transaction commits.
type Intent struct {
	Txn ID
	New Content
	// Guard says that it changes nothing and only keeps others from the key; New is
	// then of no meaning.
	Guard bool
	// Stamp is the timestamp of the placing. It becomes the cell's stamp when the
	// intent is applied, whoever does that and whenever: so a coordinator knows the
	// indexes of its changes at its commit point, and a reader of a committed intent
	// that of its value. No other change that hosts see comes between the two, so
	// stamps of a key still only grow.
	Stamp uint64
}

// Old returns the cell as it is without its intent.
func (c Cell) Old() Cell {
	c.Intent = nil
	return c
}

// Applied returns the cell as it is once its intent, if it has one, is applied.
func (c Cell) Applied() Cell {
	in := c.Intent
	if in == nil {
		return c
	}
	switch {
	case in.Guard, !in.New.Live && !c.Live: // deleting what is not there changes nothing
		return c.Old()
	case !in.New.Live:
		return Cell{Stamp: in.Stamp}
	}
	next := Cell{Content: in.New, Create: c.Create, Stamp: in.Stamp}
	if !c.Live {
		next.Create = in.Stamp
	}
	return next
}

// Without returns the cell once the intent of a transaction that ended, if there
// is one, is resolved.
func (c Cell) Without(over Ended) Cell {
	switch {
	case c.Intent == nil || c.Intent.Txn != over.Txn:
		return c
	case over.Committed:
		return c.Applied()
	}
	return c.Old()
}

// unchanged reports whether hosts saw nothing happen to a key between two reads
// of it. A tombstone may have been forgotten between them. That nothing else
// happened then is because registers keep tombstones for longer than a
// transaction lives; see Config.Life.
func unchanged(before, now Cell) bool {
	return before.Stamp == now.Stamp || !before.Live && !now.Live && now.Stamp == 0
}

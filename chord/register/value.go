package register

// OpID names an operation: the node at which it began and the timestamp it began
// at. Every stamp with which the operation can be written is above it. (A ballot
// need not be: see Past.)
type OpID = Ballot

// Past names an earlier write of a key.
type Past struct {
	// Write is the stamp of the change: the timestamp at which its proposer
	// applied it, above the operation's own and above that of the write it was
	// built on. It is what the modify index is made of. (It is not the ballot:
	// one may be held ready from the round before.)
	Write Ballot
	// Op is the operation that made the change.
	Op OpID
}

// Value is what a register holds: an entry, or a tombstone.
type Value struct {
	// Live is false for a tombstone.
	Live bool
	// Data is the entry's bytes.
	Data []byte
	// Flags is the host's opaque number.
	Flags uint64
	// Create is the timestamp of the change that created the key.
	Create uint64
	// Lineage lists this value's own write first, then the writes it was built
	// on, newest first, strictly descending in Write. It is empty only where
	// nothing was ever written. An identity round keeps it.
	Lineage []Past
}

// Write returns the stamp of the last real change; zero where there was none.
func (v *Value) Write() Ballot {
	if len(v.Lineage) == 0 {
		return Ballot{}
	}
	return v.Lineage[0].Write
}

// Index returns the modify index: 0 for a key that does not exist.
func (v *Value) Index() uint64 {
	if !v.Live {
		return 0
	}
	return v.Write().Time
}

// Cell is what an acceptor has accepted for a key.
type Cell struct {
	// Accepted is the ballot of the last Accept; zero where there was none.
	Accepted Ballot
	Value    Value
}

// IsZero reports whether nothing was ever accepted.
func (c *Cell) IsZero() bool { return c.Accepted.IsZero() }

package register

import (
	"encoding/binary"
	"fmt"
)

// State is where a transaction stands.
type State uint8

// The states. They are stored and never change their meaning.
const (
	// Absent: there is no status. Of a transaction whose intent was met: it is
	// over, and whatever it committed has been applied.
	Absent State = iota
	// Pending: it may still commit.
	Pending
	// Committed: its intents are the truth.
	Committed
	// Aborted: its intents are to be removed.
	Aborted
)

func (s State) String() string {
	switch s {
	case Absent:
		return "absent"
	case Pending:
		return "pending"
	case Committed:
		return "committed"
	case Aborted:
		return "aborted"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Status is what the status register of a transaction holds.
type Status struct {
	State State
	// Validates says that the transaction read what it does not write: readers
	// that take an old value under its intents must nudge it.
	Validates bool
	// Nudges counts those readers.
	Nudges uint64
	// By is the transaction that aborted it, if another did: it is to wait for that
	// one before it tries again, or it would only be in its way again.
	By TxnID
	// Keys are the keys of the intents, for whoever has to finish.
	Keys []string
}

// AppendStatus appends the encoding of s to dst, as it is stored in the status
// register's data: state, validates (0 or 1), nudges, by, then the number of keys
// and of each its length and bytes; numbers as in a cell.
func AppendStatus(dst []byte, s *Status) []byte {
	dst = append(dst, byte(s.State))
	dst = appendBool(dst, s.Validates)
	dst = binary.AppendUvarint(dst, s.Nudges)
	dst = appendTxn(dst, s.By)
	dst = binary.AppendUvarint(dst, uint64(len(s.Keys)))
	for _, key := range s.Keys {
		dst = appendString(dst, key)
	}
	return dst
}

// StatusOf returns the status that a register holds.
func StatusOf(v *Value) (Status, error) {
	var s Status
	if !v.Live {
		return s, nil
	}
	d := decoder{b: v.Data}
	s.State = State(d.byte())
	if d.err == nil && (s.State < Pending || s.State > Aborted) {
		d.fail(fmt.Errorf("unknown %v; a newer build wrote this", s.State))
	}
	s.Validates = d.bool()
	s.Nudges = d.uvarint()
	s.By = d.txn()
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail(errShort)
		n = 0
	}
	s.Keys = make([]string, n)
	for i := range s.Keys {
		s.Keys[i] = string(d.bytes(d.uvarint()))
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail(fmt.Errorf("%d bytes too many", len(d.b)))
	}
	if d.err != nil {
		return Status{}, fmt.Errorf("register: status of %d bytes: %w", len(v.Data), d.err)
	}
	return s, nil
}

// decide carries out Nudge, Commit and Abort on a status: the one after it, and
// whether it changed. Data that is no status stays as it is.
func (c *Change) decide(v *Value) (next []byte, changed bool) {
	s, err := StatusOf(v)
	if err != nil || s.State != Pending {
		return nil, false
	}
	switch c.Kind {
	case Nudge:
		if !s.Validates {
			return nil, false
		}
		s.Nudges++
	case Commit:
		if s.Nudges != c.Index {
			return nil, false
		}
		s.State = Committed
	case Abort:
		s.State, s.By = Aborted, c.Txn
	}
	return AppendStatus(nil, &s), true
}

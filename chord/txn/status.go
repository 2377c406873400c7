package txn

import (
	"encoding/binary"
	"errors"
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
	By ID
	// Keys are the keys of the intents, for whoever has to finish.
	Keys []string
}

// AppendKeys appends the encoding of a status's keys to dst: a count, then
// length and bytes each, numbers as unsigned varints.
func AppendKeys(dst []byte, keys []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(keys)))
	for _, key := range keys {
		dst = binary.AppendUvarint(dst, uint64(len(key)))
		dst = append(dst, key...)
	}
	return dst
}

var errKeys = errors.New("txn: the keys of a status end too early")

// DecodeKeys reads what AppendKeys wrote.
func DecodeKeys(b []byte) ([]string, error) {
	next := func() (n uint64, ok bool) {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return 0, false
		}
		b = b[size:]
		return n, true
	}
	n, ok := next()
	if !ok || n > uint64(len(b)) {
		return nil, errKeys
	}
	keys := make([]string, 0, n)
	for range n {
		size, ok := next()
		if !ok || size > uint64(len(b)) {
			return nil, errKeys
		}
		keys = append(keys, string(b[:size]))
		b = b[size:]
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("txn: %d bytes behind the keys of a status", len(b))
	}
	return keys, nil
}

package txn

import (
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Verb is what an operation of a one-shot transaction does.
type Verb uint8

// The verbs: those of Consul's transactions, with its meanings.
const (
	// Set stores Data and Flags.
	Set Verb = 1 + iota
	// CAS does so if the modify index is Index; 0 is a key that does not exist.
	CAS
	// Delete deletes Key, if it exists.
	Delete
	// DeleteCAS deletes Key if its modify index is Index.
	DeleteCAS
	// DeleteTree deletes all keys that begin with Key.
	DeleteTree
	// Get returns Key, which must exist.
	Get
	// GetOrEmpty returns Key, whether or not it exists.
	GetOrEmpty
	// GetTree returns all keys that begin with Key.
	GetTree
	// CheckIndex demands that Key exists with modify index Index.
	CheckIndex
	// CheckNotExists demands that Key does not exist.
	CheckNotExists
	// CheckSession demands that Key exists and Session holds it; with an empty
	// Session, that nobody does.
	CheckSession
	// Lock stores Data and Flags and makes Session the holder of Key, unless
	// another holds it.
	Lock
	// Unlock stores Data and Flags and releases Key, which Session must hold.
	Unlock
)

var verbNames = map[Verb]string{
	Set: "set", CAS: "cas", Delete: "delete", DeleteCAS: "delete-cas", DeleteTree: "delete-tree", Get: "get", GetOrEmpty: "get-or-empty",
	GetTree: "get-tree", CheckIndex: "check-index", CheckNotExists: "check-not-exists", CheckSession: "check-session", Lock: "lock", Unlock: "unlock",
}

func (v Verb) String() string {
	if s, ok := verbNames[v]; ok {
		return s
	}
	return fmt.Sprintf("verb %d", uint8(v))
}

// writes reports whether the verb could change something.
func (v Verb) writes() bool {
	switch v {
	case Set, CAS, Delete, DeleteCAS, DeleteTree, Lock, Unlock:
		return true
	}
	return false
}

// blind reports whether the verb does without reading its key.
func (v Verb) blind() bool { return v == Set || v == Delete || v == DeleteTree || v == GetTree }

// Op is one operation of a one-shot transaction. It sees what those before it did.
type Op struct {
	Verb    Verb
	Key     string
	Data    []byte
	Flags   uint64
	Index   uint64
	Session string
	Expires time.Duration
	// Fence is the right to write that the operation was made with; zero for none.
	Fence register.Fence
}

// Result is what an operation returns: one for each but Delete, DeleteCAS,
// DeleteTree and CheckNotExists, one a key for GetTree.
type Result struct {
	// Op is the operation's place in the transaction.
	Op  int
	Key string
	// Value is what the operation left, with data only where it gets the key. What
	// the transaction itself wrote has the timestamps and the holder that it has
	// after it.
	Value register.Value
}

// check returns an error for operations that can never succeed.
func check(ops []Op) error {
	if len(ops) > MaxOps {
		return tooLarge("", "the transaction has %d operations, which is too many operations: at most %d; split it", len(ops), MaxOps)
	}
	bytes := 0
	for i, op := range ops {
		if op.Verb < Set || op.Verb > Unlock {
			return &Error{Kind: Invalid, Key: op.Key, Message: fmt.Sprintf("operation %d has the unknown %v", i, op.Verb)}
		}
		if op.Session == "" && (op.Verb == Lock || op.Verb == Unlock) {
			return &Error{Kind: Invalid, Key: op.Key, Message: fmt.Sprintf("operation %d, %v, needs a session", i, op.Verb)}
		}
		if op.Verb.writes() {
			bytes += len(op.Data)
		}
	}
	if bytes > MaxBytes {
		return tooLarge("", "the transaction is too large: its values have %d bytes together and may have %d; split it", bytes, MaxBytes)
	}
	return nil
}

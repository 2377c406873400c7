package backend

import (
	"context"
	"maps"
	"slices"
	"time"
)

// The limits of a transaction. What is over one of them is refused with TooLarge
// before anything is written.
const (
	// MaxTxnOps is the most operations of a one-shot transaction, and the most keys
	// that an interactive one may write.
	MaxTxnOps = 128
	// MaxTxnSize is the most bytes that the values of a transaction may have
	// together. Keys do not count, so that the largest value by default fits.
	MaxTxnSize = 8 << 20
	// MaxTxnTree is the most keys that the delete-tree operations of a transaction
	// may remove together. A larger tree is removed in parts.
	MaxTxnTree = 4096
	// MaxTxReads is the most calls of Get and List in an interactive transaction.
	MaxTxReads = 4096
)

// Transactional is a backend that changes many keys in one step. Transactions
// are strictly serializable: those that commit, and all operations of Backend,
// happen as if one after the other in an order that agrees with real time.
type Transactional interface {
	// Txn carries out ops in one step, all or none. An operation sees what those
	// before it wrote.
	//
	// When some fail, nothing happens, and the error has the code, key and message
	// of the first, and in Ops all of them: Conflict for a check that does not
	// hold, SessionInvalid for a lock with a session that has ended, Fenced for an
	// outdated fence. Ops that can never succeed are Invalid or TooLarge; see
	// Limits.CheckTxn. TxnConflict is a transaction that lost against others over
	// and over: nothing happened.
	Txn(ctx context.Context, ops []TxnOp) (*TxnResult, error)

	// Begin starts an interactive transaction. It takes no lock and keeps nobody
	// else from writing.
	Begin(ctx context.Context, opts TxOptions) (Tx, error)
}

// Verb says what an operation of a one-shot transaction does. The names are
// those of Consul's /v1/txn.
type Verb string

// The verbs, and which fields of TxnOp besides Verb, Key and Fence each one uses.
// "Fails" is Conflict unless it says otherwise.
const (
	// VerbSet stores Value, Flags and ExpiresAfter as Put does.
	VerbSet Verb = "set"
	// VerbCAS does so if the key's modify index is Index; 0: if it does not exist.
	VerbCAS Verb = "cas"
	// VerbDelete removes the key if it exists.
	VerbDelete Verb = "delete"
	// VerbDeleteCAS removes the key if its modify index is Index; 0: only checks
	// that it does not exist.
	VerbDeleteCAS Verb = "delete-cas"
	// VerbDeleteTree removes every key that begins with Key, which may be empty.
	VerbDeleteTree Verb = "delete-tree"
	// VerbGet reads the key and fails if it does not exist.
	VerbGet Verb = "get"
	// VerbGetOrEmpty reads the key; one that does not exist is an entry with nothing
	// but the key.
	VerbGetOrEmpty Verb = "get-or-empty"
	// VerbGetTree reads every key that begins with Key, which may be empty, in byte
	// order.
	VerbGetTree Verb = "get-tree"
	// VerbCheckIndex fails unless the key exists with modify index Index.
	VerbCheckIndex Verb = "check-index"
	// VerbCheckNotExists fails if the key exists.
	VerbCheckNotExists Verb = "check-not-exists"
	// VerbCheckSession fails unless the key exists and Session holds it; with an
	// empty Session, unless it exists and nobody holds it.
	VerbCheckSession Verb = "check-session"
	// VerbLock stores Value and Flags and makes Session the holder. It fails if
	// another session holds the key or a lock delay is in force, and with
	// SessionInvalid if Session has ended. By the holder itself it only stores.
	VerbLock Verb = "lock"
	// VerbUnlock stores Value and Flags and leaves the key without a holder. It
	// fails unless Session holds the key.
	VerbUnlock Verb = "unlock"
)

// verbs says of each verb whether it stores a value, takes a prefix and needs a
// session.
var verbs = map[Verb]struct{ value, tree, session bool }{
	VerbSet: {value: true}, VerbCAS: {value: true},
	VerbDelete: {}, VerbDeleteCAS: {}, VerbDeleteTree: {tree: true},
	VerbGet: {}, VerbGetOrEmpty: {}, VerbGetTree: {tree: true},
	VerbCheckIndex: {}, VerbCheckNotExists: {}, VerbCheckSession: {},
	VerbLock: {value: true, session: true}, VerbUnlock: {value: true, session: true},
}

// Verbs returns all verbs, sorted.
func Verbs() []Verb { return slices.Sorted(maps.Keys(verbs)) }

// TxnOp is one operation of a one-shot transaction. Fields that its verb does
// not use are ignored.
//
// The modify index of a key that an earlier operation wrote is not known before
// the transaction is over: cas, delete-cas and check-index with an Index other
// than 0 fail on such a key.
type TxnOp struct {
	Verb Verb
	// Key is the key, or for the tree verbs the prefix.
	Key   string
	Value []byte
	Flags uint64
	// Index is the modify index asked for.
	Index uint64
	// Session is the session that holds, or is to hold, the key.
	Session string
	// ExpiresAfter and Fence are as in PutOptions.
	ExpiresAfter time.Duration
	Fence        Fence
}

// TxnResult is what a one-shot transaction that happened gives back.
type TxnResult struct {
	// Results are in the order of the operations. delete, delete-cas, delete-tree
	// and check-not-exists have none, get-tree has one for each key.
	Results []TxnOpResult
}

// TxnOpResult is an entry as an operation left it.
type TxnOpResult struct {
	// Op is the position of the operation, from 0.
	Op int
	// Entry has a Value only from get, get-or-empty and get-tree. When the
	// transaction changed the key, its ModifyIndex is that of the change; several
	// keys that one transaction changed need not have the same one.
	Entry *Entry
}

// OpError says why one operation of a transaction failed.
type OpError struct {
	// Op is the position of the operation, from 0.
	Op int
	// Code, Key and Message are as in Error.
	Code    Code
	Key     string
	Message string
}

// OpsError returns the error of a transaction whose operations failed as ops
// say, of which there must be at least one: that of the first with all in Ops.
func OpsError(ops []OpError) *Error {
	return &Error{Code: ops[0].Code, Key: ops[0].Key, Message: ops[0].Message, Ops: ops}
}

// CheckTxn returns an error unless ops could be carried out: TooLarge for more
// than MaxTxnOps operations, values above the limit or of more than MaxTxnSize
// together; Invalid for what no state of the backend makes right. What is wrong
// with an operation is in Ops.
func (l Limits) CheckTxn(ops []TxnOp) error {
	if len(ops) > MaxTxnOps {
		return Errorf(TooLarge, "", "the transaction has %d operations, which is too many operations: at most %d; split it", len(ops), MaxTxnOps)
	}
	var (
		failed []OpError
		size   int
	)
	for i, op := range ops {
		if verbs[op.Verb].value {
			size += len(op.Value)
		}
		if err := l.checkOp(op); err != nil {
			failed = append(failed, OpError{Op: i, Code: err.Code, Key: err.Key, Message: err.Message})
		}
	}
	if len(failed) > 0 {
		return OpsError(failed)
	}
	return CheckTxnSize("", size)
}

// CheckTxnSize returns a TooLarge error about key if a transaction may not have
// values of size bytes together.
func CheckTxnSize(key string, size int) error {
	if size > MaxTxnSize {
		return Errorf(TooLarge, key, "the transaction is too large: its values have %d bytes together and may have %d; split it", size, MaxTxnSize)
	}
	return nil
}

func (l Limits) checkOp(op TxnOp) *Error {
	verb, ok := verbs[op.Verb]
	if !ok {
		return Errorf(Invalid, op.Key, "there is no verb %q; the verbs are %v", op.Verb, Verbs())
	}
	check := l.CheckKey
	if verb.tree {
		check = l.CheckPrefix
	}
	err := check(op.Key)
	if err == nil && verb.value {
		err = l.CheckValue(op.Key, op.Value)
	}
	if err == nil && (op.Verb == VerbSet || op.Verb == VerbCAS) {
		err = checkLifetime(op.Key, op.ExpiresAfter)
	}
	if err == nil {
		err = l.CheckFence(op.Key, op.Fence)
	}
	if err == nil && verb.session && op.Session == "" {
		err = Errorf(Invalid, op.Key, "%s needs a session; create one", op.Verb)
	}
	if err != nil {
		return err.(*Error)
	}
	return nil
}

// Update stores all values or none, in one transaction. It fails as Txn does;
// more than MaxTxnOps keys are TooLarge.
func Update(ctx context.Context, t Transactional, values map[string][]byte) error {
	ops := make([]TxnOp, 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		ops = append(ops, TxnOp{Verb: VerbSet, Key: key, Value: values[key]})
	}
	_, err := t.Txn(ctx, ops)
	return err
}

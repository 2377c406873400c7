package chord

import (
	"errors"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// failure turns an error of transactions, or of the registers below them, into the
// contract's. lost is the code of one that lost against others: TxnConflict, or
// Conflict where the caller knows of no transaction.
func failure(err error, lost backend.Code) error {
	if err == nil {
		return nil
	}
	var failed *txn.Failed
	if errors.As(err, &failed) {
		return opsFailed(failed)
	}
	var below *backend.Error
	var e *txn.Error
	if !errors.As(err, &e) {
		if errors.As(err, &below) {
			return below
		}
		return &backend.Error{Code: backend.Internal, Message: err.Error(), Cause: err}
	}
	res := &backend.Error{Key: e.Key, Message: e.Message, Cause: e.Cause}
	if errors.As(e.Cause, &below) {
		res.Answered, res.Owners = below.Answered, below.Owners
	}
	switch code, ok := kindCodes[e.Kind]; {
	case ok:
		res.Code = code
	case e.Kind == txn.Conflict:
		res.Code = lost
	case e.Kind == txn.Unavailable:
		return unavailable(res, below)
	default:
		res.Code = backend.Internal
	}
	return res
}

// kindCodes are the codes of the kinds that have one of their own.
var kindCodes = map[txn.Kind]backend.Code{
	txn.Unknown: backend.UnknownOutcome, txn.TooLarge: backend.TooLarge, txn.ReadOnly: backend.TxnReadOnly,
	txn.Over: backend.TxnDone, txn.Invalid: backend.Invalid, txn.Fenced: backend.Fenced,
}

// unavailable is the error of what did not happen because of one below.
func unavailable(res, below *backend.Error) error {
	res.Code = backend.NoQuorum
	if below == nil {
		return res
	}
	// A doubt about a change on the way, of a status or an intent, is none about the
	// transaction: that did not commit.
	if below.Code != backend.UnknownOutcome {
		res.Code, res.Message = below.Code, below.Message
	}
	return res
}

// faultCodes are the codes of faults; others are Conflict.
var faultCodes = map[txn.Fault]backend.Code{txn.FaultTree: backend.TooLarge, txn.FaultSession: backend.SessionInvalid, txn.FaultFenced: backend.Fenced}

// opsFailed is the error of a transaction whose checks failed.
func opsFailed(failed *txn.Failed) error {
	ops := make([]backend.OpError, len(failed.Errors))
	for i, f := range failed.Errors {
		code, special := faultCodes[f.Fault]
		if !special {
			code = backend.Conflict
		}
		ops[i] = backend.OpError{Op: f.Op, Code: code, Key: f.Key, Message: f.Fault.String()}
	}
	return backend.OpsError(ops)
}

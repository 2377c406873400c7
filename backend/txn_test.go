package backend

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVerbs(t *testing.T) {
	require.Equal(t, []Verb{
		"cas", "check-index", "check-not-exists", "check-session", "delete", "delete-cas", "delete-tree",
		"get", "get-or-empty", "get-tree", "lock", "set", "unlock",
	}, Verbs(), "the names are Consul's")
}

func TestCheckTxn(t *testing.T) {
	l := Limits{MaxKeySize: 16, MaxValueSize: MaxTxnSize}
	half := make([]byte, MaxTxnSize/2)
	for _, tc := range []struct {
		name string
		ops  []TxnOp
		code Code
		at   []int
	}{
		{"none", nil, 0, nil},
		{"as many as there may be", many(MaxTxnOps), 0, nil},
		{"one too many", many(MaxTxnOps + 1), TooLarge, nil},
		{"as large as they may be", []TxnOp{{Verb: VerbSet, Key: "a", Value: half}, {Verb: VerbCAS, Key: "b", Value: half}}, 0, nil},
		{"one byte too large", []TxnOp{{Verb: VerbSet, Key: "a", Value: half}, {Verb: VerbCAS, Key: "b", Value: half}, {Verb: VerbSet, Key: "c", Value: half[:1]}}, TooLarge, nil},
		{"values that are ignored", []TxnOp{{Verb: VerbSet, Key: "a", Value: half}, {Verb: VerbCAS, Key: "b", Value: half}, {Verb: VerbGet, Key: "c", Value: half}}, 0, nil},
		{"values of locks", []TxnOp{{Verb: VerbLock, Key: "a", Value: half, Session: "s"}, {Verb: VerbUnlock, Key: "b", Value: half, Session: "s"}, {Verb: VerbSet, Key: "c", Value: half[:1]}}, TooLarge, nil},
		{"value over the limit", []TxnOp{{Verb: VerbSet, Key: "a", Value: make([]byte, MaxTxnSize+1)}}, TooLarge, []int{0}},
		{"all prefixes", []TxnOp{{Verb: VerbGetTree}, {Verb: VerbDeleteTree}}, 0, nil},
		{"no key", []TxnOp{{Verb: VerbGet, Key: "a"}, {Verb: VerbGet}}, Invalid, []int{1}},
		{"bad key", []TxnOp{{Verb: VerbGet, Key: "/a"}}, Invalid, []int{0}},
		{"long key", []TxnOp{{Verb: VerbDelete, Key: strings.Repeat("k", 17)}}, TooLarge, []int{0}},
		{"no verb and a bad one", []TxnOp{{Key: "a"}, {Verb: "put", Key: "a"}}, Invalid, []int{0, 1}},
		{"no session", []TxnOp{{Verb: VerbLock, Key: "a"}, {Verb: VerbUnlock, Key: "a"}, {Verb: VerbCheckSession, Key: "a"}}, Invalid, []int{0, 1}},
		{"lifetime", []TxnOp{{Verb: VerbSet, Key: "a", ExpiresAfter: MinTTL}, {Verb: VerbCAS, Key: "a", ExpiresAfter: time.Second}, {Verb: VerbGet, Key: "a", ExpiresAfter: 1}}, Invalid, []int{1}},
		{"fence", []TxnOp{{Verb: VerbDelete, Key: "a", Fence: Fence{Key: "l", Token: 1}}, {Verb: VerbDelete, Key: "a", Fence: Fence{Key: "l"}}}, Invalid, []int{1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := l.CheckTxn(tc.ops)
			require.Equal(t, tc.code, CodeOf(err), "%v", err)
			var e *Error
			if errors.As(err, &e) {
				var at []int
				for _, op := range e.Ops {
					at = append(at, op.Op)
					require.NotEmpty(t, op.Message)
				}
				require.Equal(t, tc.at, at)
			}
		})
	}
}

func many(n int) []TxnOp {
	ops := make([]TxnOp, n)
	for i := range ops {
		ops[i] = TxnOp{Verb: VerbGet, Key: "k"}
	}
	return ops
}

func TestOpsErrorIsThatOfTheFirst(t *testing.T) {
	ops := []OpError{{Op: 3, Code: SessionInvalid, Key: "k", Message: "gone"}, {Op: 5, Code: Conflict, Key: "l", Message: "held"}}
	err := OpsError(ops)
	require.Equal(t, &Error{Code: SessionInvalid, Key: "k", Message: "gone", Ops: ops}, err)
	require.ErrorIs(t, err, ErrSessionInvalid)
	require.NotErrorIs(t, err, ErrConflict)
	require.EqualError(t, err, `session invalid: key "k": gone (operation 3, the first of 2 that failed)`)
}

type txnFunc func(ops []TxnOp) error

func (f txnFunc) Txn(_ context.Context, ops []TxnOp) (*TxnResult, error) { return nil, f(ops) }
func (f txnFunc) Begin(context.Context, TxOptions) (Tx, error)           { return nil, nil }

func TestUpdateIsOneTransaction(t *testing.T) {
	var got []TxnOp
	b := txnFunc(func(ops []TxnOp) error { got = ops; return ErrTxnConflict })
	require.ErrorIs(t, Update(t.Context(), b, map[string][]byte{"b": []byte("2"), "a": nil}), ErrTxnConflict)
	require.Equal(t, []TxnOp{{Verb: VerbSet, Key: "a"}, {Verb: VerbSet, Key: "b", Value: []byte("2")}}, got)
}

func TestCheckTx(t *testing.T) {
	l := DefaultLimits()
	require.NoError(t, l.CheckTxPut("k", nil, PutOptions{ExpiresAfter: MaxTTL, Fence: Fence{Key: "l", Token: 1}}))
	require.NoError(t, l.CheckTxDelete("k", DeleteOptions{}))
	for _, err := range []error{
		l.CheckTxPut("", nil, PutOptions{}), l.CheckTxPut("k", nil, PutOptions{If: IfAbsent()}), l.CheckTxPut("k", nil, PutOptions{ExpiresAfter: 1}),
		l.CheckTxPut("k", nil, PutOptions{Fence: Fence{Token: 1}}), l.CheckTxDelete("/", DeleteOptions{}), l.CheckTxDelete("k", DeleteOptions{If: IfIndex(3)}),
		l.CheckTxDelete("k", DeleteOptions{Fence: Fence{Token: 1}}),
	} {
		require.ErrorIs(t, err, ErrInvalid)
	}
	require.ErrorIs(t, l.CheckTxPut("k", make([]byte, DefaultMaxValueSize+1), PutOptions{}), ErrTooLarge)
}

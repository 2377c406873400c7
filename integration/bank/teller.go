package bank

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
)

// teller moves money, one transfer after the other.
type teller struct {
	bank *Bank
	id   int
	rng  *rand.Rand
	// book has all transfers that it tried, the mark of each being its place in it,
	// from 1.
	book []*transfer
	// mark is that of the last one that happened, index the modify index of the key
	// that says so before the transfer that is under way.
	mark  int
	index uint64
	// lost: the mark is one that cannot be, so the teller does nothing any more.
	lost bool
}

// transfer is one attempt to move money.
type transfer struct {
	// changes are what becomes of the accounts, by number. It is nil for one that
	// only keeps the one before from happening later.
	changes map[int]int
	// call and end are from the beginning until the outcome was known.
	call, end time.Duration
	outcome   outcome
	// how and where it was tried, and how it ended first.
	how, member string
	err         error
}

// outcome is how a transfer ended.
type outcome int

const (
	// nothing: it did not happen and never will.
	nothing outcome = iota
	// happened: all of it did.
	happened
	// doubtful: it may happen still. Only the last of a book may stay so.
	doubtful
)

// String returns the transfer in one line.
func (x *transfer) String() string {
	s := fmt.Sprintf("%s at %s, %.3f .. %.3f s", x.how, x.member, x.call.Seconds(), x.end.Seconds())
	if x.err != nil {
		s += fmt.Sprintf(" (%v)", x.err)
	}
	return s
}

// ways are how a transfer can be made: of a part of an account, then of a whole
// branch; each in one shot, then interactively. They return whether the error is
// that of something that may have happened.
var ways = []struct {
	name string
	do   func(*teller, crew.Target, *transfer) (sent bool, err error)
}{
	{"transfer", (*teller).oneShot},
	{"interactive transfer", (*teller).interactive},
	{"clearance", (*teller).clear},
	{"interactive clearance", (*teller).clearInteractive},
}

// transfer makes one transfer.
func (t *teller) transfer(at crew.Target) {
	if t.lost {
		return
	}
	n := t.rng.IntN(2)
	if t.rng.IntN(16) == 0 {
		n += 2
	}
	way := ways[n]
	x := &transfer{call: t.bank.Now(), how: way.name, member: at.Name, outcome: doubtful, changes: map[int]int{}}
	t.book = append(t.book, x)
	sent, err := false, t.look(at)
	if err == nil {
		sent, err = way.do(t, at, x)
	}
	x.err, x.end = err, t.bank.Now()
	switch {
	case err == nil:
		t.happened(x)
	case t.lost:
		x.outcome = nothing
		t.bank.WentWrong("teller %d: %v", t.id, x)
	case t.bank.mayEnd(err):
		x.outcome = nothing
	case backend.CodeOf(err) == backend.UnknownOutcome && sent:
		t.settle(x)
	default:
		t.bank.WentWrong("teller %d: %s: %v", t.id, x, err)
		t.settle(x)
	}
	if err != nil && !errors.Is(err, errNotNow) {
		t.bank.Pause(retryPause)
	}
}

// happened notes that the last transfer of the book happened.
func (t *teller) happened(x *transfer) { x.outcome, t.mark = happened, len(t.book) }

// look reads the mark, which must be that of the last transfer that happened.
func (t *teller) look(at crew.Target) error {
	ctx, cancel := crew.Call(t.bank.cfg.Timeout)
	defer cancel()
	e, err := at.Backend.Get(ctx, markKey(t.id), backend.GetOptions{})
	if err != nil {
		return err
	}
	if e == nil || string(e.Value) != strconv.Itoa(t.mark) {
		t.lost = true
		return fmt.Errorf("MARK: it is %v and should be that of transfer %d: %v", e, t.mark, t.last())
	}
	t.index = e.ModifyIndex
	return nil
}

// last returns the last transfer that happened, if any.
func (t *teller) last() *transfer {
	if t.mark == 0 {
		return nil
	}
	return t.book[t.mark-1]
}

// settle finds out whether the last transfer of the book happened, and keeps it
// from happening if it did not: the next mark can be written only instead. It goes
// on until it knows or the bank is stopped.
func (t *teller) settle(x *transfer) {
	for x.outcome == doubtful && t.bank.Pause(retryPause) {
		if at, ok := t.bank.Any(t.rng); ok {
			t.settleAt(at, x)
		}
	}
}

// settleAt tries it at one target.
func (t *teller) settleAt(at crew.Target, x *transfer) {
	ctx, cancel := crew.Call(t.bank.cfg.Timeout)
	defer cancel()
	own, instead := len(t.book), len(t.book)+1
	_, err := at.Backend.Put(ctx, markKey(t.id), []byte(strconv.Itoa(instead)), backend.PutOptions{If: backend.IfIndex(t.index)})
	mark := instead
	if backend.CodeOf(err) == backend.Conflict {
		var e *backend.Entry
		if e, err = at.Backend.Get(ctx, markKey(t.id), backend.GetOptions{}); err == nil && e != nil {
			mark, err = strconv.Atoi(string(e.Value))
		}
	}
	switch code := backend.CodeOf(err); {
	case err == nil && mark == own:
		x.end = t.bank.Now()
		t.happened(x)
	case err == nil && mark == instead:
		x.outcome, x.end = nothing, t.bank.Now()
		void := &transfer{call: x.call, end: x.end, how: "nothing instead", member: at.Name}
		t.book = append(t.book, void)
		t.happened(void)
	case err == nil:
		x.outcome, t.lost = nothing, true
		t.bank.WentWrong("MARK: that of teller %d is %d at %s, and it was to be %d or %d: %v", t.id, mark, at.Name, own, instead, x)
	case code != backend.UnknownOutcome && !crew.Nothing(code):
		t.bank.WentWrong("teller %d settles %v at %s: %v", t.id, x, at.Name, err)
	}
}

// plan draws who pays whom and how much of what is there: half, or all.
func (t *teller) plan() (from, to int, amount func(have int) int) {
	from = t.rng.IntN(len(t.bank.names))
	to = (from + 1 + t.rng.IntN(len(t.bank.names)-1)) % len(t.bank.names)
	all := t.rng.IntN(8) == 0
	return from, to, func(have int) int {
		if all {
			return have
		}
		return (have + 1) / 2
	}
}

// value is what an account with n is to hold; nil: it is to be deleted.
func value(n int) []byte {
	if n == 0 {
		return nil
	}
	return []byte(strconv.Itoa(n))
}

// change returns the operation that makes n of an account's entry, which may be
// nil, on condition that it has not changed.
func change(name string, e *backend.Entry, n int) backend.TxnOp {
	op := backend.TxnOp{Verb: backend.VerbCAS, Key: name, Value: value(n)}
	if e != nil {
		op.Index = e.ModifyIndex
	}
	if op.Value == nil {
		op.Verb = backend.VerbDeleteCAS
	}
	return op
}

// signed is the operation that writes the mark of the last transfer of the book.
func (t *teller) signed() backend.TxnOp {
	return backend.TxnOp{Verb: backend.VerbCAS, Key: markKey(t.id), Index: t.index, Value: []byte(strconv.Itoa(len(t.book)))}
}

// oneShot moves money from one account to another.
func (t *teller) oneShot(at crew.Target, x *transfer) (sent bool, err error) {
	ctx, cancel := crew.Call(t.bank.cfg.Timeout)
	defer cancel()
	from, to, amount := t.plan()
	entries, have, err := t.bank.accounts(ctx, at, from, to)
	if err != nil {
		return false, err
	}
	n := amount(have[0])
	if n == 0 {
		return false, errNotNow
	}
	x.changes[from], x.changes[to] = -n, n
	ops := []backend.TxnOp{
		change(t.bank.names[from], entries[0], have[0]-n), change(t.bank.names[to], entries[1], have[1]+n), t.signed(),
	}
	t.rng.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
	_, err = transactional(at).Txn(ctx, ops)
	return true, err
}

// accounts reads accounts one by one.
func (b *Bank) accounts(ctx context.Context, at crew.Target, numbers ...int) (entries []*backend.Entry, have []int, err error) {
	for _, n := range numbers {
		e, err := at.Backend.Get(ctx, b.names[n], backend.GetOptions{})
		if err != nil {
			return nil, nil, err
		}
		held, err := money(e)
		if err != nil {
			return nil, nil, err
		}
		entries, have = append(entries, e), append(have, held)
	}
	return entries, have, nil
}

// interactive does the same in an interactive transaction.
func (t *teller) interactive(at crew.Target, x *transfer) (sent bool, err error) {
	from, to, amount := t.plan()
	return t.bank.inTx(at, backend.TxOptions{}, func(ctx context.Context, tx backend.Tx) error {
		var have [2]int
		for i, n := range []int{from, to} {
			e, err := tx.Get(ctx, t.bank.names[n])
			if err == nil {
				have[i], err = money(e)
			}
			if err != nil {
				return err
			}
		}
		n := amount(have[0])
		if n == 0 {
			return errNotNow
		}
		x.changes[from], x.changes[to] = -n, n
		if err := t.sign(ctx, tx); err != nil {
			return err
		}
		if err := write(ctx, tx, t.bank.names[from], have[0]-n); err != nil {
			return err
		}
		return write(ctx, tx, t.bank.names[to], have[1]+n)
	})
}

// write writes or deletes an account.
func write(ctx context.Context, tx backend.Tx, name string, n int) error {
	if v := value(n); v != nil {
		return inDoubt(tx.Put(ctx, name, v, backend.PutOptions{}))
	}
	return inDoubt(tx.Delete(ctx, name, backend.DeleteOptions{}))
}

// inDoubt makes errNotNow of an unknown outcome: the transaction may or may not
// have been told what to write, and is rolled back.
func inDoubt(err error) error {
	if backend.CodeOf(err) == backend.UnknownOutcome {
		return errNotNow
	}
	return err
}

// sign reads and writes the mark.
func (t *teller) sign(ctx context.Context, tx backend.Tx) error {
	e, err := tx.Get(ctx, markKey(t.id))
	if err != nil {
		return err
	}
	if e == nil || e.ModifyIndex != t.index {
		return errNotNow // an older state, which Commit would refuse
	}
	return inDoubt(tx.Put(ctx, markKey(t.id), []byte(strconv.Itoa(len(t.book))), backend.PutOptions{}))
}

// planClearance draws a branch that is emptied and the account elsewhere that gets
// it all.
func (t *teller) planClearance() (branch, to int) {
	accounts := t.bank.cfg.Accounts
	branch = t.rng.IntN(t.bank.cfg.Branches)
	to = (branch*accounts + accounts + t.rng.IntN(len(t.bank.names)-accounts)) % len(t.bank.names)
	return branch, to
}

// clear moves everything that a branch has to an account of another.
func (t *teller) clear(at crew.Target, x *transfer) (sent bool, err error) {
	ctx, cancel := crew.Call(t.bank.cfg.Timeout)
	defer cancel()
	branch, to := t.planClearance()
	numbers := []int{to}
	for i := range t.bank.cfg.Accounts {
		numbers = append(numbers, branch*t.bank.cfg.Accounts+i)
	}
	entries, have, err := t.bank.accounts(ctx, at, numbers...)
	if err != nil {
		return false, err
	}
	var ops []backend.TxnOp
	sum := 0
	for i, n := range numbers[1:] {
		op := backend.TxnOp{Verb: backend.VerbCheckNotExists, Key: t.bank.names[n]}
		if e := entries[i+1]; e != nil {
			op.Verb, op.Index = backend.VerbCheckIndex, e.ModifyIndex
			x.changes[n] = -have[i+1]
		}
		sum += have[i+1]
		ops = append(ops, op)
	}
	if sum == 0 {
		return false, errNotNow
	}
	x.changes[to] = sum
	ops = append(ops, backend.TxnOp{Verb: backend.VerbDeleteTree, Key: branchPrefix(branch)}, change(t.bank.names[to], entries[0], have[0]+sum), t.signed())
	_, err = transactional(at).Txn(ctx, ops)
	return true, err
}

// clearInteractive does the same in an interactive transaction.
func (t *teller) clearInteractive(at crew.Target, x *transfer) (sent bool, err error) {
	branch, to := t.planClearance()
	return t.bank.inTx(at, backend.TxOptions{}, func(ctx context.Context, tx backend.Tx) error {
		list, err := tx.List(ctx, backend.ListQuery{Prefix: branchPrefix(branch), Values: true})
		if err != nil {
			return err
		}
		sum := 0
		for _, it := range list.Items {
			n, err := money(it.Entry)
			if err != nil {
				return err
			}
			sum += n
			x.changes[t.bank.account[it.Name]] = -n
			if err := write(ctx, tx, it.Name, 0); err != nil {
				return err
			}
		}
		if sum == 0 {
			return errNotNow
		}
		e, err := tx.Get(ctx, t.bank.names[to])
		if err != nil {
			return err
		}
		have, err := money(e)
		if err != nil {
			return err
		}
		x.changes[to] = sum
		if err := write(ctx, tx, t.bank.names[to], have+sum); err != nil {
			return err
		}
		return t.sign(ctx, tx)
	})
}

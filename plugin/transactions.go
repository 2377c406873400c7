package plugin

import (
	"context"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// maxTransactions is how many interactive transactions a plugin keeps for its
	// host at the same time. Each may have backend.MaxTxnSize bytes of values.
	maxTransactions = 512
	// idleTimeout is how long a transaction is kept that no call uses. It holds
	// memory and no lock, so that nobody waits for its end.
	idleTimeout = time.Minute
	// rollbackTimeout is how long the rollback of one that was left behind may take.
	rollbackTimeout = time.Second
)

// transactions are the interactive transactions of the host. The zero value is
// ready for use.
//
// The host names a transaction by its number in calls like all others. A stream a
// transaction would end with the connection, but a plugin ends with its host
// anyway; and each call would need a number and a deadline of its own on the
// stream, an end of its own when the host gives it up, and a goroutine on either
// side between the calls. A number costs nothing between calls, a host that
// connects again finds its transactions, and what it leaves behind ends by
// itself after idleTimeout.
type transactions struct {
	mu sync.Mutex
	// last is the number given last.
	last   uint64
	open   map[uint64]*transaction
	closed bool
	// ending counts the timers that are set or run, and the rollbacks of close.
	ending sync.WaitGroup
}

// A transaction is one of the host's. Its fields belong to transactions.mu.
type transaction struct {
	// tx is nil while it is begun.
	tx backend.Tx
	// calls counts the calls under way.
	calls int
	// abandoned: nobody will commit it or roll it back; the last call does.
	abandoned bool
	// idle rolls it back; nil while there are calls.
	idle *time.Timer
}

// begin keeps what start returns and returns its number.
func (ts *transactions) begin(ctx context.Context, start func() (backend.Tx, error)) (uint64, error) {
	ts.mu.Lock()
	switch {
	case ts.closed:
		ts.mu.Unlock()
		return 0, errClosed()
	case len(ts.open) == maxTransactions:
		ts.mu.Unlock()
		return 0, backend.Errorf(backend.NotReady, "", "there are %d interactive transactions, which is the limit; commit some or roll them back", maxTransactions)
	}
	if ts.open == nil {
		ts.open = map[uint64]*transaction{}
	}
	ts.last++
	number, t := ts.last, &transaction{calls: 1}
	ts.open[number] = t
	ts.mu.Unlock()

	tx, err := start()
	ts.mu.Lock()
	t.tx = tx
	switch {
	case err != nil:
	case ts.closed: // and t is abandoned
		err = errClosed()
	case ctx.Err() != nil:
		t.abandoned = true // Nobody learns the number.
		err = backend.Errorf(backend.NoQuorum, "", "the host gave up before the transaction had begun: %w", ctx.Err())
	}
	if err != nil {
		delete(ts.open, number)
	}
	ts.mu.Unlock()
	ts.release(number, t)
	return number, err
}

// use returns a transaction for a call, which is to release it. With end it is
// over for all others.
func (ts *transactions) use(number uint64, end bool) (*transaction, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.open[number]
	switch {
	case ts.closed:
		return nil, errClosed()
	case number == 0 || number > ts.last || t != nil && t.tx == nil:
		return nil, backend.Errorf(backend.Invalid, "", "there is no transaction %d; begin one", number)
	case t == nil:
		return nil, backend.Errorf(backend.TxnDone, "", "the transaction is over: it was committed or rolled back, or nobody used it for %v; begin a new one", idleTimeout)
	}
	if end {
		delete(ts.open, number)
	}
	ts.wake(t)
	t.calls++
	return t, nil
}

// wake stops the timer of a transaction. The caller holds ts.mu.
func (ts *transactions) wake(t *transaction) {
	if t.idle != nil && t.idle.Stop() {
		ts.ending.Done()
	}
	t.idle = nil
}

// release ends a call.
func (ts *transactions) release(number uint64, t *transaction) {
	ts.mu.Lock()
	t.calls--
	last, tx := t.calls == 0 && t.abandoned, t.tx
	if t.calls == 0 && ts.open[number] == t {
		var timer *time.Timer
		ts.ending.Add(1)
		timer = time.AfterFunc(idleTimeout, func() {
			defer ts.ending.Done()
			ts.mu.Lock()
			late := t.idle != timer // a call came first
			if !late {
				delete(ts.open, number)
			}
			ts.mu.Unlock()
			if !late {
				rollBack(t.tx)
			}
		})
		t.idle = timer
	}
	ts.mu.Unlock()
	if last && tx != nil {
		rollBack(tx)
	}
}

// rollBack ends a transaction that was left behind.
func rollBack(tx backend.Tx) {
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
	defer cancel()
	// If it fails, the transaction is as much without a trace: nobody commits it.
	_ = tx.Rollback(ctx)
}

// close rolls back all transactions that have no call under way, at the same time, and
// lets the others be rolled back by their last call. It takes rollbackTimeout at most.
func (ts *transactions) close() {
	ts.mu.Lock()
	ts.closed = true
	for _, t := range ts.open {
		ts.wake(t)
		t.abandoned = true
		if t.calls == 0 {
			ts.ending.Go(func() { rollBack(t.tx) })
		}
	}
	ts.open = nil
	ts.mu.Unlock()
	ts.ending.Wait()
}

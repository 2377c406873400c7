package plugin

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/opentx"
)

const (
	// maxTransactions is how many interactive transactions a plugin keeps for its
	// host at the same time. Each may have backend.MaxTxnSize bytes of values, and
	// all together opentx.MaxBytes.
	maxTransactions = 512
	// idleTimeout is how long a transaction is kept that no call uses.
	idleTimeout = time.Minute
	// rollbackTimeout is how long the rollback of one that was left behind may take.
	rollbackTimeout = time.Second
)

// transactions are the interactive transactions of the host.
//
// The host names a transaction by its number in calls like all others. A stream a
// transaction would end with the connection, but a plugin ends with its host
// anyway; and each call would need a number and a deadline of its own on the
// stream, an end of its own when the host gives it up, and a goroutine on either
// side between the calls. A number costs nothing between calls, a host that
// connects again finds its transactions, and what it leaves behind ends by
// itself after idleTimeout.
type transactions struct {
	table *opentx.Table[uint64]
	// last is the number given last.
	last atomic.Uint64
}

func newTransactions() *transactions {
	ts := &transactions{}
	ts.table = opentx.New(opentx.Config[uint64]{
		Max: maxTransactions, Idle: idleTimeout, Rollback: rollbackTimeout, NewID: func() uint64 { return ts.last.Add(1) },
	})
	return ts
}

// begin keeps what start returns and returns its number.
func (ts *transactions) begin(ctx context.Context, start func() (backend.Tx, error)) (uint64, error) {
	number, err := ts.table.Begin(ctx, start)
	switch {
	case errors.Is(err, opentx.ErrClosed):
		err = errClosed()
	case errors.Is(err, opentx.ErrFull):
		err = backend.Errorf(backend.NotReady, "", "there are %d interactive transactions, which is the limit; commit some or roll them back", maxTransactions)
	case errors.Is(err, opentx.ErrGivenUp):
		err = backend.Errorf(backend.NoQuorum, "", "the host gave up before the transaction had begun: %w", ctx.Err())
	}
	return number, err
}

// use returns a transaction for a call, which calls done in the end. With end it is
// over for all others.
func (ts *transactions) use(number uint64, end bool) (tx backend.Tx, done func(), err error) {
	tx, done, err = ts.table.Use(number, end)
	switch {
	case errors.Is(err, opentx.ErrClosed):
		err = errClosed()
	case err != nil && (number == 0 || number > ts.last.Load()):
		err = backend.Errorf(backend.Invalid, "", "there is no transaction %d; begin one", number)
	case err != nil:
		err = backend.Errorf(backend.TxnDone, "", "the transaction is over: it was committed or rolled back, or nobody used it for %v; begin a new one", idleTimeout)
	}
	return tx, done, err
}

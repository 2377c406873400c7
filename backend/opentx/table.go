// Package opentx keeps interactive transactions for callers that are elsewhere and
// name them in calls: the hosts of a plugin, the clients of an agent.
//
// A transaction that was begun holds memory and no lock, so that nobody waits for
// its end. One that nobody uses for a while is rolled back. What all of them together
// have written is bounded by MaxBytes.
package opentx

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// The errors of a Table. Its owner says them in words of its own.
var (
	// ErrFull: as many as there may be are open.
	ErrFull = errors.New("too many transactions are open")
	// ErrClosed: the table was closed.
	ErrClosed = errors.New("the table of transactions was closed")
	// ErrGivenUp: the caller's time was over before the transaction had begun.
	ErrGivenUp = errors.New("the caller gave up before the transaction had begun")
	// ErrGone: it is over, or never was.
	ErrGone = errors.New("there is no such transaction")
)

// Config says what a Table keeps, and how it names it.
type Config[ID comparable] struct {
	// Max is how many transactions may be open. Each keeps what it has written, up to
	// backend.MaxTxnSize.
	Max int
	// Idle is how long one that no call uses is kept.
	Idle time.Duration
	// Rollback bounds the rollback of one that was left behind.
	Rollback time.Duration
	// NewID returns an ID that was never used. One call is made at a time.
	NewID func() ID
}

// Table holds open transactions by ID. It is safe for use by many goroutines.
type Table[ID comparable] struct {
	cfg Config[ID]

	mu       sync.Mutex
	open     map[ID]*entry
	starting int // that have no ID yet
	kept     int // bytes that the transactions have written
	closed   bool
	// ending counts the timers that are set or run, and the rollbacks of Close.
	ending sync.WaitGroup
}

// entry is a transaction. Its fields belong to Table.mu.
type entry struct {
	tx backend.Tx
	// kept are the bytes of each key that was written and of its value.
	kept map[string]int
	// calls counts the calls under way.
	calls int
	// abandoned: nobody will commit it or roll it back; the last call does.
	abandoned bool
	// idle rolls it back; nil while there are calls.
	idle *time.Timer
}

// New returns an empty table.
func New[ID comparable](cfg Config[ID]) *Table[ID] {
	return &Table[ID]{cfg: cfg, open: map[ID]*entry{}}
}

// Begin keeps what start returns and returns its ID. It fails with ErrFull or
// ErrClosed, with start's error, and when ctx has ended with ErrGivenUp, since
// nobody then learns the ID; what start returned is rolled back.
func (t *Table[ID]) Begin(ctx context.Context, start func() (backend.Tx, error)) (id ID, err error) {
	t.mu.Lock()
	switch {
	case t.closed:
		err = ErrClosed
	case len(t.open)+t.starting >= t.cfg.Max:
		err = ErrFull
	default:
		t.starting++
	}
	t.mu.Unlock()
	if err != nil {
		return id, err
	}
	tx, err := start()
	t.mu.Lock()
	t.starting--
	switch {
	case err != nil:
		t.mu.Unlock()
		return id, err
	case t.closed:
		err = ErrClosed
	case ctx.Err() != nil:
		err = fmt.Errorf("%w: %w", ErrGivenUp, ctx.Err())
	default:
		id = t.cfg.NewID()
		e := &entry{kept: map[string]int{}}
		e.tx = &metered[ID]{Tx: tx, table: t, entry: e}
		t.open[id] = e
		t.rest(id, e)
	}
	t.mu.Unlock()
	if err != nil {
		t.rollBack(tx)
	}
	return id, err
}

// Use returns a transaction for a call, which calls done in the end. With last it is
// over for all others. It fails with ErrClosed or ErrGone.
func (t *Table[ID]) Use(id ID, last bool) (tx backend.Tx, done func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.open[id]
	switch {
	case t.closed:
		return nil, nil, ErrClosed
	case e == nil:
		return nil, nil, ErrGone
	}
	if last {
		delete(t.open, id)
	}
	t.wake(e)
	e.calls++
	return e.tx, func() { t.release(id, e) }, nil
}

// wake stops the timer of a transaction. The caller holds mu.
func (t *Table[ID]) wake(e *entry) {
	if e.idle != nil && e.idle.Stop() {
		t.ending.Done()
	}
	e.idle = nil
}

// release ends a call.
func (t *Table[ID]) release(id ID, e *entry) {
	t.mu.Lock()
	e.calls--
	over := e.calls == 0 && e.abandoned
	switch {
	case e.calls > 0:
	case t.open[id] == e:
		t.rest(id, e)
	default:
		t.free(e)
	}
	t.mu.Unlock()
	if over {
		t.rollBack(e.tx)
	}
}

// rest sets the timer of a transaction that no call uses. The caller holds mu.
func (t *Table[ID]) rest(id ID, e *entry) {
	var timer *time.Timer
	t.ending.Add(1)
	timer = time.AfterFunc(t.cfg.Idle, func() {
		defer t.ending.Done()
		t.mu.Lock()
		idle := e.idle == timer // else a call came first
		if idle {
			delete(t.open, id)
			t.free(e)
		}
		t.mu.Unlock()
		if idle {
			t.rollBack(e.tx)
		}
	})
	e.idle = timer
}

// rollBack ends a transaction that was left behind. If that fails it is as much
// without a trace: nobody commits it.
func (t *Table[ID]) rollBack(tx backend.Tx) {
	ctx, cancel := context.WithTimeout(context.Background(), t.cfg.Rollback)
	defer cancel()
	_ = tx.Rollback(ctx)
}

// Len returns how many transactions are open.
func (t *Table[ID]) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// Close rolls back all transactions that have no call under way, at the same time,
// and lets the others be rolled back by their last call. It takes Config.Rollback at
// most.
func (t *Table[ID]) Close() {
	t.mu.Lock()
	t.closed = true
	for _, e := range t.open {
		t.wake(e)
		e.abandoned = true
		if e.calls == 0 {
			t.ending.Go(func() { t.rollBack(e.tx) })
		}
	}
	clear(t.open)
	t.mu.Unlock()
	t.ending.Wait()
}

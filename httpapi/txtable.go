package httpapi

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// maxOpenTx is how many interactive transactions are open at once. Each keeps
	// what it has written, up to backend.MaxTxnSize.
	maxOpenTx = 256
	// txIdle is how long one may be left alone before it is rolled back.
	txIdle = time.Minute
)

// A txTable holds the interactive transactions that are open, by ID. The zero value
// is ready for use.
type txTable struct {
	mu     sync.Mutex
	open   map[string]*openTx
	closed bool
	// ending counts the alarms that are set, and the rollbacks that they began.
	ending sync.WaitGroup
	// rollbackTimeout bounds a rollback that nobody waits for.
	rollbackTimeout time.Duration
}

type openTx struct {
	backend.Tx
	// users is how many requests are under way in it.
	users int
	// idle is set while there are none.
	idle *idleAlarm
}

type idleAlarm struct{ timer *time.Timer }

// add gives a transaction an ID.
func (t *txTable) add(tx backend.Tx) (id string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return "", backend.Errorf(backend.Closed, "", "the agent is stopping; begin the transaction at another")
	case len(t.open) == maxOpenTx:
		return "", backend.Errorf(backend.NotReady, "", "%d transactions are open, the limit; commit them or roll them back, or try again", maxOpenTx)
	case t.open == nil:
		t.open = map[string]*openTx{}
	}
	id = rand.Text()
	o := &openTx{Tx: tx}
	t.open[id] = o
	t.rest(id, o)
	return id, nil
}

// use returns the transaction with that ID; the caller calls done when it has used
// it. last takes it out of the table.
func (t *txTable) use(id string, last bool) (tx backend.Tx, done func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.open[id]
	if o == nil {
		return nil, nil, backend.Errorf(backend.TxnDone, "", "the transaction was committed or rolled back, or left alone for %v and rolled back, or begun at another agent; begin a new one", txIdle)
	}
	if o.idle != nil && o.idle.timer.Stop() {
		t.ending.Done()
	}
	o.idle = nil
	o.users++
	if last {
		delete(t.open, id)
	}
	return o.Tx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if o.users--; o.users == 0 && t.open[id] == o {
			t.rest(id, o)
		}
	}, nil
}

// rest sets the alarm for when o has been left alone for too long. The caller holds
// mu.
func (t *txTable) rest(id string, o *openTx) {
	alarm := &idleAlarm{}
	o.idle = alarm
	t.ending.Add(1)
	alarm.timer = time.AfterFunc(txIdle, func() {
		defer t.ending.Done()
		t.mu.Lock()
		idle := o.idle == alarm && t.open[id] == o
		if idle {
			delete(t.open, id)
		}
		t.mu.Unlock()
		if idle {
			t.rollback(o)
		}
	})
}

// rollback ends a transaction that nobody asks for any more. When that fails the
// backend forgets it in its own time: it holds nothing that others wait for.
func (t *txTable) rollback(o *openTx) {
	ctx, cancel := context.WithTimeout(context.Background(), t.rollbackTimeout)
	defer cancel()
	_ = o.Rollback(ctx)
}

// count returns how many transactions are open.
func (t *txTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

// close rolls back all transactions, and returns when that is done.
func (t *txTable) close() {
	t.mu.Lock()
	t.closed = true
	open := t.open
	t.open = nil
	for _, o := range open {
		if o.idle != nil && o.idle.timer.Stop() {
			t.ending.Done()
		}
		o.idle = nil
	}
	t.mu.Unlock()
	for _, o := range open {
		t.rollback(o)
	}
	t.ending.Wait()
}

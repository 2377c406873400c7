package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/judge"
)

const (
	sharedPrefix = "shared/"
	ledgerPrefix = "ledger/"
)

// client does one thing after the other at one target.
type client struct {
	load   *Load
	id     int
	target Target
	rng    *rand.Rand
	seen   map[string]seen // what it last read or wrote, for conditions
	values int             // that it made
	kept   int             // keys in the ledger
}

type seen struct {
	value string
	index uint64
}

func (c *client) run() {
	for c.load.pause(time.Duration(c.rng.Int64N(int64(c.load.cfg.Think)))) {
		o := c.choose()
		c.do(&o)
		c.load.history.Add(o)
		if o.Outcome == judge.Done && o.Kind == judge.Put && o.Key[:len(ledgerPrefix)] == ledgerPrefix {
			c.load.mu.Lock()
			c.load.ledger[o.Key] = entry{o.Value, o.Return}
			c.load.mu.Unlock()
		}
		if (o.Outcome == judge.Nothing || o.Outcome == judge.Unknown) && !c.load.pause(failurePause) {
			return
		}
	}
}

// choose decides what to do next. A key of the ledger is written once and never
// changed; the shared keys are everybody's.
func (c *client) choose() judge.Operation {
	o := judge.Operation{Client: c.id, Member: c.target.Name, Key: fmt.Sprint(sharedPrefix, c.rng.IntN(c.load.cfg.Keys))}
	x := c.rng.Float64()
	switch {
	case x < 0.30:
		o.Kind = judge.Get
		return o
	case x < 0.35:
		o.Kind = judge.Delete
		return o
	case x < 0.40:
		o.Kind = judge.Pop
		return o
	}
	c.values++
	o.Value = fmt.Sprintf("%d.%d", c.id, c.values)
	switch {
	case x < 0.55:
		o.Kind, o.Expect = judge.CAS, c.seen[o.Key].value
	case x < 0.75 || c.kept == maxLedger:
		o.Kind = judge.Put
	default:
		c.kept++
		o.Kind, o.Key = judge.Put, fmt.Sprintf("%s%03d/%06d", ledgerPrefix, c.id, c.kept)
	}
	return o
}

// do carries out one operation and notes its outcome.
func (c *client) do(o *judge.Operation) {
	// Not the load's context: an operation that is under way comes to its end.
	ctx, cancel := context.WithTimeout(context.Background(), c.load.cfg.Timeout)
	defer cancel()
	b := c.target.Backend
	o.Call = c.load.Now()
	var e *backend.Entry
	var err error
	switch o.Kind {
	case judge.Get:
		e, err = b.Get(ctx, o.Key, backend.GetOptions{})
	case judge.Pop:
		e, err = b.Pop(ctx, o.Key)
	case judge.Delete:
		err = b.Delete(ctx, o.Key, backend.DeleteOptions{})
	case judge.Put:
		o.Index, err = b.Put(ctx, o.Key, []byte(o.Value), backend.PutOptions{})
	case judge.CAS:
		o.Index, err = b.Put(ctx, o.Key, []byte(o.Value), backend.PutOptions{If: backend.IfIndex(c.seen[o.Key].index)})
	}
	o.Return = c.load.Now()
	if e != nil {
		o.Value, o.Index = string(e.Value), e.ModifyIndex
	}
	c.outcome(o, err)
	switch {
	case o.Outcome == judge.Refused, o.Outcome == judge.Unknown, o.Kind == judge.Pop, o.Kind == judge.Delete:
		delete(c.seen, o.Key)
	case o.Outcome == judge.Done && o.Index != 0:
		c.seen[o.Key] = seen{o.Value, o.Index}
	case o.Outcome == judge.Done:
		delete(c.seen, o.Key)
	}
}

// outcome says what an error means, by the contract. One that must not come is
// noted as wrong.
func (c *client) outcome(o *judge.Operation, err error) {
	if err != nil {
		o.Err = err.Error()
	}
	writes := o.Kind != judge.Get
	switch code := backend.CodeOf(err); {
	case code == 0:
		o.Outcome = judge.Done
	case code == backend.Conflict && o.Kind == judge.CAS:
		o.Outcome = judge.Refused
	case code == backend.NoQuorum, code == backend.NotReady, code == backend.Closed:
		o.Outcome = judge.Nothing
	case code == backend.UnknownOutcome && writes:
		o.Outcome = judge.Unknown
	default:
		c.load.wentWrong("client %d: %s %s at %s: %v", c.id, o.Kind, o.Key, o.Member, err)
		o.Outcome = judge.Unknown
	}
}

package load

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/judge"
)

const (
	sharedPrefix = "shared/"
	ledgerPrefix = "ledger/"
)

// client does one thing after the other at one target.
type client struct {
	load       *Load
	id         int
	target     crew.Target
	rng        *rand.Rand
	generation int
	seen       map[string]seen // what it last read or wrote, for conditions
	values     int             // that it made
	kept       int             // keys that it wrote to the ledger
	own        []string        // those that are there, oldest first
}

type seen struct {
	value string
	index uint64
}

// restPause is how often a client that rests looks whether it may go on.
const restPause = 50 * time.Millisecond

func (c *client) run() {
	for c.load.Pause(time.Duration(c.rng.Int64N(int64(c.load.cfg.Think)))) {
		if c.load.Resting(c.target.Name) {
			if !c.load.Pause(restPause) {
				return
			}
			continue
		}
		o := c.choose()
		c.do(&o)
		c.load.history.Add(o)
		if strings.HasPrefix(o.Key, ledgerPrefix) {
			c.book(&o)
		}
		if (o.Outcome == judge.Nothing || o.Outcome == judge.Unknown) && !c.load.Pause(failurePause) {
			return
		}
	}
}

// book enters a change of its ledger.
func (c *client) book(o *judge.Operation) {
	switch {
	case o.Kind == judge.Put && o.Outcome == judge.Done:
		c.own = append(c.own, o.Key)
		c.load.ledger.set(o.Key, entry{held, o.Value, o.Return})
	case o.Kind == judge.Delete && o.Outcome == judge.Done:
		c.own = c.own[1:]
		c.load.ledger.set(o.Key, entry{gone, "", o.Return})
	case o.Kind == judge.Delete && o.Outcome == judge.Unknown:
		c.own = c.own[1:]
	case o.Kind == judge.Delete: // it changed nothing
		e := c.load.ledger.get(o.Key)
		e.state = held
		c.load.ledger.set(o.Key, e)
	}
}

// readOld is how many of the reads are those of an earlier generation.
const readOld = 0.2

// choose decides what to do next. A key of the ledger is written once and at most
// deleted later; the shared keys are everybody's.
func (c *client) choose() judge.Operation {
	if g := c.load.generation(); g != c.generation {
		c.generation = g
		clear(c.seen)
	}
	o := judge.Operation{Client: c.id, Member: c.target.Name, Key: c.load.sharedKey(c.generation, c.rng.IntN(c.load.cfg.Keys))}
	x := c.rng.Float64()
	switch {
	case x < 0.30:
		o.Kind = judge.Get
		if c.generation > 0 && x < 0.30*readOld {
			o.Key = c.load.sharedKey(c.rng.IntN(c.generation), c.rng.IntN(c.load.cfg.Keys))
		}
		return o
	case x < 0.35:
		o.Kind = judge.Delete
		return o
	case x < 0.40:
		o.Kind = judge.Pop
		return o
	case x >= 0.75 && len(c.own) >= c.load.cfg.Ledger:
		o.Kind, o.Key = judge.Delete, c.own[0]
		e := c.load.ledger.get(o.Key)
		e.state = going
		c.load.ledger.set(o.Key, e)
		return o
	}
	c.values++
	o.Value = fmt.Sprintf("%d.%d", c.id, c.values)
	switch {
	case x < 0.55:
		o.Kind, o.Expect = judge.CAS, c.seen[o.Key].value
	case x < 0.75:
		o.Kind = judge.Put
	default:
		c.kept++
		o.Kind, o.Key = judge.Put, fmt.Sprintf("%s%03d/%06d", ledgerPrefix, c.id, c.kept)
	}
	return o
}

// do carries out one operation and notes its outcome.
func (c *client) do(o *judge.Operation) {
	ctx, cancel := crew.Call(c.load.cfg.Timeout)
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
	case crew.Nothing(code):
		o.Outcome = judge.Nothing
	case code == backend.UnknownOutcome && writes:
		o.Outcome = judge.Unknown
	default:
		c.load.WentWrong("client %d: %s %s at %s: %v", c.id, o.Kind, o.Key, o.Member, err)
		o.Outcome = judge.Unknown
	}
}

package chord

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// registers is the ring as transactions see it, for the time of a context.
type registers struct {
	node *Node
	ctx  context.Context
}

var _ txn.Registers = registers{}

// laterTime bounds what transactions leave to do in the background.
const laterTime = 5 * time.Second

func (r registers) Read(key string) (register.Value, error) {
	return r.node.value(r.ctx, key, false)
}

func (r registers) Change(key string, c register.Change) (register.Result, error) {
	res, err := r.node.submit(r.ctx, key, c)
	switch res.Outcome {
	case register.Refused, register.Held, register.Oversized, register.Fenced:
		return res, nil
	}
	if backend.CodeOf(err) == backend.UnknownOutcome {
		err = fmt.Errorf("%w: %w", txn.ErrUnknown, err)
	}
	return res, err
}

// idShard is the shard that issues IDs of transactions. Shards have clocks of their
// own, so that two of them could issue the same.
const idShard = 0

func (r registers) NewID() (register.Ballot, error) {
	n := r.node
	st, err := n.serving(r.ctx, "")
	if err != nil {
		return register.Ballot{}, err
	}
	res, err := n.run(r.ctx, st.drivers[idShard], "", func(d *driver, now register.Now, token uint64) { d.shard.NewID(now, token) })
	return register.Ballot{Time: res.Index, Node: n.id.Node()}, err
}

func (r registers) Now() time.Duration { return r.node.mono() }

func (r registers) Sleep(d time.Duration) error {
	t := time.NewTimer(d/2 + rand.N(d+1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.node.done:
		return r.node.usable(context.Background(), "")
	case <-r.ctx.Done():
		return &backend.Error{Code: backend.NoQuorum, Message: "the caller's time was over while a transaction was in the way; nothing was changed", Cause: r.ctx.Err()}
	}
}

func (r registers) Each(n int, do func(i int) error) error {
	errs := make([]error, n)
	_ = r.node.background.each(n, func(i int) error { // also those after one that failed
		errs[i] = do(i)
		return nil
	})
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r registers) Later(do func(r txn.Registers)) { r.later(laterTime, do) }

func (r registers) later(most time.Duration, do func(r txn.Registers)) {
	n := r.node
	n.background.run(func() {
		ctx, cancel := context.WithTimeout(n.ctx, most)
		defer cancel()
		do(registers{n, ctx})
	})
}

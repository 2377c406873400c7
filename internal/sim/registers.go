package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// registers is the simulated ring as the transactions of a node see it.
type registers struct{ fencing }

var _ txn.Registers = registers{}

var errLost = errors.New("too few owners answered")

// ask runs one operation of the node's shard.
func (r registers) ask(writes bool, begin func(now register.Now, token uint64, timeout time.Duration)) (res register.Result, err error) {
	timeout := min(2*time.Second, r.end-r.node.sim.kernel.Now)
	if timeout <= 0 {
		return res, errOver
	}
	answered := r.wait(timeout+time.Second, func(done func()) {
		r.node.call(func(now register.Now, token uint64) { begin(now, token, timeout) }, func(got register.Result) {
			res = got
			done()
		})
	})
	switch {
	case !answered && writes, res.Outcome == register.Unknown:
		return res, fmt.Errorf("%w: %w", txn.ErrUnknown, errLost)
	case !answered:
		return res, errLost
	}
	switch res.Outcome {
	case register.Done, register.Refused, register.Held, register.Oversized, register.Fenced:
		return res, nil
	}
	return res, errLost
}

func (r registers) Read(key string) (register.Value, error) {
	res, err := r.ask(false, func(now register.Now, token uint64, timeout time.Duration) {
		r.node.shard.Read(now, token, key, false, timeout)
	})
	return res.Value, err
}

func (r registers) Change(key string, c register.Change) (register.Result, error) {
	return r.ask(true, func(now register.Now, token uint64, timeout time.Duration) {
		r.node.shard.Submit(now, token, key, c, timeout)
	})
}

// Scan reads the accounts under a prefix one by one; a second look finds those that
// changed since.
func (r registers) Scan(q txn.Range) (txn.Picture, error) {
	var pic txn.Picture
	for _, key := range accounts {
		if !strings.HasPrefix(key, q.Prefix) {
			continue
		}
		v, err := r.Read(key)
		if err != nil {
			return pic, err
		}
		pic.Keys = append(pic.Keys, txn.KeyValue{Key: key, Value: v})
	}
	scanned := slices.Clone(pic.Keys)
	pic.Moved = func() (moved []txn.Move, known bool, err error) {
		for _, kv := range scanned {
			v, err := r.Read(kv.Key)
			if err != nil {
				return nil, false, err
			}
			if v.Write() != kv.Write() {
				moved = append(moved, txn.Move{Key: kv.Key, After: v, Known: true})
			}
		}
		return moved, true, nil
	}
	return pic, nil
}

func (r registers) NewID() (register.Ballot, error) {
	res, err := r.ask(false, func(now register.Now, token uint64, _ time.Duration) { r.node.shard.NewID(now, token) })
	return register.Ballot{Time: res.Index, Node: r.node.id}, err
}

func (r registers) Now() time.Duration { return r.node.sim.kernel.Now }

func (r registers) Later(do func(r txn.Registers)) {
	r.node.spawn(3*time.Second, func(p *process) { do(registers{fencing{p}}) })
}

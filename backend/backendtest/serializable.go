package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	txClients      = 5
	txsPerClient   = 24
	txKeys         = 3
	maxTxAttempts  = 1000
	txCallsAtMost  = 3
	absent         = "-"
	txListOneIn    = 4
	txOneShotOneIn = 4
)

// A txInput is what a transaction wrote: a value for each key, or "" for none.
type txInput [txKeys]string

// A txOutput is what it read before, absent for a missing key and "" for one that
// it did not read.
type txOutput struct {
	reads   [txKeys]string
	unknown bool
}

// serializable lets clients run transactions on the same keys and asks whether one
// order of all of them, in keeping with when they ran, explains what they read.
func serializable(c *check) {
	var (
		mu      sync.Mutex
		history []porcupine.Operation
		clock   atomic.Int64
	)
	c.parallel(txClients, func(client int) error {
		rng := rand.New(rand.NewPCG(3, uint64(client)))
		for done, attempt := 0, 0; done < txsPerClient; attempt++ {
			if attempt == maxTxAttempts {
				return fmt.Errorf("client %d: %d of %d transactions in %d attempts", client, done, txsPerClient, attempt)
			}
			call := clock.Add(1)
			in, out, err := c.transact(rng, fmt.Sprintf("%d.%d", client, attempt))
			end := clock.Add(1)
			switch backend.CodeOf(err) {
			case 0:
			case backend.UnknownOutcome:
				out.unknown, end = true, math.MaxInt64
			case backend.TxnConflict, backend.Conflict, backend.NotReady, backend.NoQuorum:
				continue
			default:
				return fmt.Errorf("client %d: %w", client, err)
			}
			done++
			mu.Lock()
			history = append(history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: end})
			mu.Unlock()
		}
		return nil
	})
	switch porcupine.CheckOperationsTimeout(txRegisters, history, judgeTimeout) {
	case porcupine.Illegal:
		slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		for _, op := range history {
			c.Logf("client %d, %d to %d: wrote %q, read %+v", op.ClientId, op.Call, op.Return, op.Input, op.Output)
		}
		c.Fatalf("no order of these %d transactions explains what they read", len(history))
	case porcupine.Unknown:
		c.Fatalf("the history of %d transactions could not be judged within %v", len(history), judgeTimeout)
	}
	require.Len(c, history, txClients*txsPerClient)
}

// transact runs one random transaction whose writes are of value.
func (c *check) transact(rng *rand.Rand, value string) (in txInput, out txOutput, err error) {
	name := func(i int) string { return fmt.Sprint("k", i) }
	if rng.IntN(txOneShotOneIn) == 0 {
		read, write := rng.IntN(txKeys), rng.IntN(txKeys)
		in[write], out.reads[read] = value, absent
		res, err := c.txn(c.op(backend.VerbGetOrEmpty, name(read)), c.set(name(write), value))
		if err == nil && res.Results[0].Entry.ModifyIndex != 0 {
			out.reads[read] = string(res.Results[0].Entry.Value)
		}
		return in, out, err
	}
	tx, err := c.b.(backend.Transactional).Begin(c.ctx, backend.TxOptions{})
	if err != nil {
		return in, out, err
	}
	// note keeps what was read first, unless this transaction wrote it.
	note := func(i int, read string) {
		if in[i] == "" && out.reads[i] == "" {
			out.reads[i] = read
		}
	}
	for range 1 + rng.IntN(txCallsAtMost) {
		i := rng.IntN(txKeys)
		switch {
		case rng.IntN(2) == 0:
			err = tx.Put(c.ctx, c.key(name(i)), []byte(value), backend.PutOptions{})
			in[i] = value
		case rng.IntN(txListOneIn) == 0:
			var res *backend.ListResult
			if res, err = tx.List(c.ctx, backend.ListQuery{Prefix: c.prefix, Values: true}); err == nil {
				var read [txKeys]string
				for _, it := range res.Items {
					for j := range txKeys {
						if strings.HasSuffix(it.Name, name(j)) {
							read[j] = string(it.Entry.Value)
						}
					}
				}
				for j := range txKeys {
					if read[j] == "" {
						read[j] = absent
					}
					note(j, read[j])
				}
			}
		default:
			var e *backend.Entry
			if e, err = tx.Get(c.ctx, c.key(name(i))); err == nil {
				if e == nil {
					note(i, absent)
				} else {
					note(i, string(e.Value))
				}
			}
		}
		if err != nil {
			_ = tx.Rollback(c.ctx)
			return in, out, err
		}
	}
	return in, out, tx.Commit(c.ctx)
}

// txRegisters is what the keys may do together. As in registers, a transaction
// whose outcome is unknown has no end.
var txRegisters = porcupine.Model{
	Init: func() any {
		var state [txKeys]string
		for i := range state {
			state[i] = absent
		}
		return state
	},
	Step: func(state, input, output any) (bool, any) {
		now, in, out := state.([txKeys]string), input.(txInput), output.(txOutput)
		for i, read := range out.reads {
			if read != "" && read != now[i] {
				return out.unknown, now
			}
		}
		for i, value := range in {
			if value != "" {
				now[i] = value
			}
		}
		return true, now
	},
}

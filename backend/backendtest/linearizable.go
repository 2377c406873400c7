package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	clients      = 6
	opsPerClient = 60
	sharedKeys   = 3
	// judgeTimeout is how long the judge may think about one history.
	judgeTimeout = 30 * time.Second
)

// opKind is what a client did to a key.
type opKind int

const (
	opGet opKind = iota + 1
	opPut
	opDelete
	opCAS
)

// An opInput is a call: of which key, and for opPut and opCAS the value, and for
// opCAS the index asked for.
type opInput struct {
	kind  opKind
	key   string
	value string
	index uint64
}

// An opOutput is what a call returned. For opGet, index 0 is a missing key.
type opOutput struct {
	unknown bool
	index   uint64
	value   string
}

// A keyState is what a key holds. Only a change whose outcome is unknown leaves
// indexKnown false, until somebody reads or replaces it.
type keyState struct {
	live       bool
	indexKnown bool
	index      uint64
	value      string
	// floor is the newest index ever known: every later one is greater.
	floor uint64
}

// linearizable lets clients read and change the same keys and asks whether one
// order of all calls, in keeping with when they ran, explains every answer.
func linearizable(c *check) {
	var (
		mu       sync.Mutex
		history  []porcupine.Operation
		clock    atomic.Int64
		answered atomic.Int32
	)
	c.parallel(clients, func(client int) error {
		rng := rand.New(rand.NewPCG(1, uint64(client)))
		indexes := map[string]uint64{}
		for i := range opsPerClient {
			in := opInput{kind: opKind(1 + rng.IntN(4)), key: c.key(fmt.Sprint("k", rng.IntN(sharedKeys))), value: fmt.Sprintf("%d.%d", client, i)}
			in.index = indexes[in.key]
			call := clock.Add(1)
			out, err := c.do(in)
			end := clock.Add(1)
			switch code := backend.CodeOf(err); code {
			case 0:
				answered.Add(1)
				if in.kind != opDelete {
					indexes[in.key] = out.index
				}
			case backend.Conflict:
				// The condition did not hold: an answer, but no event.
				answered.Add(1)
				continue
			case backend.NoQuorum, backend.NotReady:
				continue
			case backend.UnknownOutcome:
				if in.kind == opGet {
					continue
				}
				out.unknown, end = true, math.MaxInt64
			default:
				return fmt.Errorf("client %d: %+v: %w", client, in, err)
			}
			mu.Lock()
			history = append(history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: end})
			mu.Unlock()
		}
		return nil
	})
	require.Greater(c, int(answered.Load()), clients*opsPerClient/2, "too few calls were answered to judge")
	switch porcupine.CheckOperationsTimeout(registers, history, judgeTimeout) {
	case porcupine.Illegal:
		slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		for _, op := range history {
			c.Logf("client %d, %d to %d: %+v: %+v", op.ClientId, op.Call, op.Return, op.Input, op.Output)
		}
		c.Fatalf("no order of these %d calls explains what they returned", len(history))
	case porcupine.Unknown:
		c.Fatalf("the history of %d calls could not be judged within %v", len(history), judgeTimeout)
	}
}

// do carries out one call.
func (c *check) do(in opInput) (out opOutput, err error) {
	switch in.kind {
	case opGet:
		e, err := c.b.Get(c.ctx, in.key, backend.GetOptions{})
		if err != nil || e == nil {
			return out, err
		}
		return opOutput{index: e.ModifyIndex, value: string(e.Value)}, nil
	case opPut:
		out.index, err = c.b.Put(c.ctx, in.key, []byte(in.value), backend.PutOptions{})
	case opDelete:
		err = c.b.Delete(c.ctx, in.key, backend.DeleteOptions{})
	case opCAS:
		out.index, err = c.b.Put(c.ctx, in.key, []byte(in.value), backend.PutOptions{If: backend.IfIndex(in.index)})
	}
	return out, err
}

// registers is what the keys may do, each by itself. A call whose outcome is
// unknown has no end, so "it never happened" is "it happens last", and the model
// needs no branches.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(opInput).key
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return keyState{indexKnown: true} },
	Step: func(state, input, output any) (bool, any) {
		return step(state.(keyState), input.(opInput), output.(opOutput))
	},
}

// step reports whether a key in state s may answer in with out, and its state
// afterwards.
func step(s keyState, in opInput, out opOutput) (bool, keyState) {
	switch in.kind {
	case opGet:
		if out.index == 0 || !s.live {
			return out.index == 0 && !s.live, s
		}
		if out.value != s.value || (s.indexKnown && out.index != s.index) || (!s.indexKnown && out.index <= s.floor) {
			return false, s
		}
		s.indexKnown, s.index, s.floor = true, out.index, out.index
		return true, s
	case opDelete:
		return true, keyState{indexKnown: true, floor: s.floor}
	case opCAS:
		holds := in.index == 0 && !s.live || s.live && in.index != 0 && (s.indexKnown && in.index == s.index || !s.indexKnown && in.index > s.floor)
		if !holds {
			return out.unknown, s
		}
	}
	if out.unknown {
		return true, keyState{live: true, value: in.value, floor: s.floor}
	}
	if out.index <= s.floor {
		return false, s
	}
	return true, keyState{live: true, indexKnown: true, index: out.index, value: in.value, floor: out.index}
}

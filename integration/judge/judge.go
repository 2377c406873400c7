package judge

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Patience bounds the search for an order of one key's operations. Many
// operations of unknown outcome at a time make it exponential.
const Patience = 20 * time.Second

// forever is the end of an operation whose outcome is unknown: it may happen at
// any time from its call on. That it never happened is the same as that it
// happens after everything else.
const forever = math.MaxInt64

// register is a key, and the token below which nothing is written to it.
type register struct {
	value string
	fence uint64
}

// model is one register.
var model = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, in, _ any) (bool, any) {
		s, o := state.(register), in.(Operation)
		to := func(value string) register { return register{value, s.fence} }
		switch {
		case o.Kind == Get:
			return o.Value == s.value, s
		case o.Kind == Fence:
			return o.Token >= s.fence, register{s.value, o.Token}
		case o.Token != 0 && o.Token < s.fence:
			return o.Outcome == Unknown, s
		}
		switch o.Kind {
		case Put:
			return true, to(o.Value)
		case Delete:
			return true, to("")
		case Pop:
			return o.Outcome == Unknown || o.Value == s.value, to("")
		case CAS:
			holds := s.value == o.Expect
			switch {
			case holds && o.Outcome != Refused:
				return true, to(o.Value)
			case o.Outcome == Done:
				return false, s
			}
			return o.Outcome == Unknown || !holds, s
		}
		return false, s
	},
}

// Check returns why no order of the operations, in keeping with when they ran,
// explains what they returned, or nil. It fails, too, when the search for an
// order takes longer than Patience.
func Check(ops []Operation) error {
	byKey := map[string][]Operation{}
	for _, o := range ops {
		if o.Outcome == Nothing && o.Kind != Fence || o.Kind == Get && o.Outcome != Done {
			continue // it says nothing about the key
		}
		byKey[o.Key] = append(byKey[o.Key], o)
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if err := checkKey(key, byKey[key]); err != nil {
			return err
		}
	}
	return nil
}

func checkKey(key string, ops []Operation) error {
	ops, err := fenced(ops)
	if err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	switch search(ops) {
	case porcupine.Illegal:
		return fmt.Errorf("key %q: no order of these %d operations explains the last of them:\n%s", key, len(ops), printed(upToBreak(ops)))
	case porcupine.Unknown:
		return fmt.Errorf("key %q: no order of its %d operations was found or excluded within %v", key, len(ops), Patience)
	}
	return checkIndexes(key, ops)
}

func search(ops []Operation) porcupine.CheckResult {
	history := make([]porcupine.Operation, len(ops))
	for i, o := range ops {
		history[i] = porcupine.Operation{ClientId: o.Client, Input: o, Call: int64(o.Call), Output: nil, Return: latest(o, ops)}
	}
	return porcupine.CheckOperationsTimeout(model, history, Patience)
}

// latest is when an operation has happened, or never will.
func latest(o Operation, ops []Operation) int64 {
	if o.Outcome != Unknown {
		return int64(o.Return)
	}
	end := int64(forever)
	for _, f := range ops {
		if f.Kind == Fence && o.Token != 0 && f.Token > o.Token {
			end = min(end, max(int64(f.Return), int64(o.Return))+1)
		}
	}
	return end
}

// fenced judges the writes that were refused for their token, and leaves out what
// says nothing more then: those, and fences that may not be in force. A fence that
// failed may refuse what it will, since it is a fence all the same.
func fenced(ops []Operation) (left []Operation, err error) {
	for _, o := range ops {
		switch {
		case o.Kind == Fence && o.Outcome != Done:
		case o.Kind != CAS && o.Outcome == Refused:
			if !slices.ContainsFunc(ops, func(f Operation) bool { return f.Kind == Fence && f.Token > o.Token && f.Call < o.Return }) {
				return nil, fmt.Errorf("it was refused for its token although nobody had a newer one:\n%s", printed([]Operation{o}))
			}
		default:
			left = append(left, o)
		}
	}
	return left, nil
}

// upToBreak cuts the operations off where they first cannot be put in order, so
// that the reason stands at their end.
func upToBreak(ops []Operation) []Operation {
	ops = slices.SortedFunc(slices.Values(ops), func(a, b Operation) int { return cmp.Compare(a.Return, b.Return) })
	for n := range ops {
		now := ops[n].Return
		cut := slices.Clone(ops[:n+1])
		for _, o := range ops[n+1:] {
			if o.Call < now && o.Kind != Get {
				o.Outcome = Unknown // it has not ended yet
				cut = append(cut, o)
			}
		}
		if search(cut) == porcupine.Illegal {
			return cut
		}
	}
	return ops
}

// printedOperations bounds what is shown of a history that cannot be.
const printedOperations = 60

func printed(ops []Operation) string {
	ops = slices.SortedFunc(slices.Values(ops), func(a, b Operation) int { return cmp.Compare(a.Call, b.Call) })
	var s strings.Builder
	if over := len(ops) - printedOperations; over > 0 {
		fmt.Fprintf(&s, "  (%d earlier ones)\n", over)
		ops = ops[over:]
	}
	for _, o := range ops {
		fmt.Fprintln(&s, o)
	}
	return s.String()
}

// checkIndexes checks what the model does not see: a value has one index, and
// of two changes one of which ended before the other began, the later one has
// the higher index.
func checkIndexes(key string, ops []Operation) error {
	index := map[string]uint64{}
	var writes []Operation
	for _, o := range ops {
		if o.Outcome != Done || o.Index == 0 {
			continue
		}
		if have, ok := index[o.Value]; ok && have != o.Index {
			return fmt.Errorf("key %q: value %q was seen with index %d and with %d", key, o.Value, have, o.Index)
		}
		index[o.Value] = o.Index
		if o.Kind == Put || o.Kind == CAS {
			writes = append(writes, o)
		}
	}
	// By their end; newest is the highest index among those that ended before
	// the call that is looked at.
	ended := slices.SortedFunc(slices.Values(writes), func(a, b Operation) int { return cmp.Compare(a.Return, b.Return) })
	begun := slices.SortedFunc(slices.Values(writes), func(a, b Operation) int { return cmp.Compare(a.Call, b.Call) })
	var newest Operation
	for _, o := range begun {
		for len(ended) > 0 && ended[0].Return < o.Call {
			if ended[0].Index > newest.Index {
				newest = ended[0]
			}
			ended = ended[1:]
		}
		if o.Index <= newest.Index {
			return fmt.Errorf("key %q: the indexes went back:\n%s", key, printed([]Operation{newest, o}))
		}
	}
	return nil
}

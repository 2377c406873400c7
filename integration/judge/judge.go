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

// model is one register that holds a value.
var model = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, in, _ any) (bool, any) {
		s, o := state.(string), in.(Operation)
		switch o.Kind {
		case Get:
			return o.Value == s, s
		case Put:
			return true, o.Value
		case Delete:
			return true, ""
		case Pop:
			return o.Outcome == Unknown || o.Value == s, ""
		case CAS:
			holds := s == o.Expect
			switch {
			case holds && o.Outcome != Refused:
				return true, o.Value
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
		if o.Outcome == Nothing || o.Kind == Get && o.Outcome != Done {
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
		end := int64(o.Return)
		if o.Outcome == Unknown {
			end = forever
		}
		history[i] = porcupine.Operation{ClientId: o.Client, Input: o, Call: int64(o.Call), Output: nil, Return: end}
	}
	return porcupine.CheckOperationsTimeout(model, history, Patience)
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

package sim

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

type opKind uint8

const (
	opGet opKind = iota
	opPut        // of data; 0 is a delete
	opPop
	opCas   // puts data if the value is expect
	opStale // a read that promises nothing
)

// input and output of an operation; data names a value, 0 is no value. Values
// are unique, so that a condition on an index is one on a value.
type input struct {
	kind         opKind
	key          string
	data, expect int
	// fence is what a write was made with; zero for none.
	fence register.Fence
}

type output struct {
	data    int
	index   uint64
	ok      bool
	unknown bool
}

func (i input) String() string {
	switch i.kind {
	case opGet:
		return "get " + i.key
	case opStale:
		return "stale " + i.key
	case opPop:
		return "pop " + i.key
	case opCas:
		return fmt.Sprintf("cas %s %d -> %d", i.key, i.expect, i.data)
	}
	return fmt.Sprintf("put %s %d", i.key, i.data)
}

// model is one register.
var model = porcupine.Model{
	Partition: func(h []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		var keys []string
		for _, o := range h {
			k := o.Input.(input).key
			if byKey[k] == nil {
				keys = append(keys, k)
			}
			byKey[k] = append(byKey[k], o)
		}
		slices.Sort(keys)
		var parts [][]porcupine.Operation
		for _, k := range keys {
			parts = append(parts, byKey[k])
		}
		return parts
	},
	Init: func() any { return 0 },
	Step: func(state, in, out any) (bool, any) {
		s, i, o := state.(int), in.(input), out.(output)
		switch i.kind {
		case opGet:
			return o.data == s, s
		case opPut:
			return true, i.data
		case opPop:
			return o.unknown || o.data == s, 0
		}
		switch {
		case s == i.expect && (o.ok || o.unknown):
			return true, i.data
		case o.ok:
			return false, s
		}
		return o.unknown || s != i.expect, s
	},
	Equal: func(a, b any) bool { return a == b },
}

// patience bounds the search for an order of one key's operations; operations of
// unknown outcome can make it exponential.
const patience = time.Second

// judge returns what is wrong with a history, or nil, and whether the search for
// an order came to an end.
func judge(history []porcupine.Operation) (decided bool, err error) {
	if err := judgeStale(history); err != nil {
		return true, err
	}
	history = slices.DeleteFunc(slices.Clone(history), func(o porcupine.Operation) bool { return o.Input.(input).kind == opStale })
	decided = true
	for _, part := range model.Partition(history) {
		switch porcupine.CheckOperationsTimeout(model, part, patience) {
		case porcupine.Illegal:
			return true, fmt.Errorf("key %q is not linearizable:\n%s", part[0].Input.(input).key, printed(upToBreak(part)))
		case porcupine.Unknown:
			decided = false
		}
	}
	return decided, judgeIndexes(history)
}

// judgeStale checks that a stale read saw nothing that was never written to its
// key, or was written only after it ended.
func judgeStale(history []porcupine.Operation) error {
	type value struct {
		key  string
		data int
	}
	written := map[value]int64{}
	for _, o := range history {
		if in := o.Input.(input); in.data != 0 {
			written[value{in.key, in.data}] = o.Call
		}
	}
	for _, o := range history {
		in, data := o.Input.(input), o.Output.(output).data
		if in.kind != opStale || data == 0 {
			continue
		}
		if call, ok := written[value{in.key, data}]; !ok || call > o.Return {
			return fmt.Errorf("a stale read of key %q saw %d, which nobody had written", in.key, data)
		}
	}
	return nil
}

// judgeIndexes checks what the register model does not see: a value has one
// index, and of two changes one of which ended before the other began, the later
// has the higher index.
func judgeIndexes(history []porcupine.Operation) error {
	type write struct {
		index     uint64
		call, end int64
	}
	index := map[int]uint64{}
	writes := map[string][]write{}
	for _, o := range history {
		in, out := o.Input.(input), o.Output.(output)
		data := in.data
		if in.kind == opGet {
			data = out.data
		}
		if out.index == 0 || data == 0 {
			continue
		}
		if have, ok := index[data]; ok && have != out.index {
			return fmt.Errorf("value %d of key %q was seen with index %d and %d", data, in.key, have, out.index)
		}
		index[data] = out.index
		if in.kind != opGet {
			writes[in.key] = append(writes[in.key], write{out.index, o.Call, o.Return})
		}
	}
	for key, ws := range writes {
		for _, a := range ws {
			for _, b := range ws {
				if a.end < b.call && a.index >= b.index {
					return fmt.Errorf("key %q: index %d, then later %d", key, a.index, b.index)
				}
			}
		}
	}
	return nil
}

// upToBreak cuts a history off where it first cannot be put in order, so that
// the reason stands at its end.
func upToBreak(ops []porcupine.Operation) []porcupine.Operation {
	ops = slices.Clone(ops)
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	n := sort.Search(len(ops), func(n int) bool {
		var cut []porcupine.Operation
		for _, o := range ops {
			switch {
			case o.Return <= ops[n].Return:
			case o.Call > ops[n].Return || o.Input.(input).kind == opGet:
				continue
			default: // not ended yet
				out := o.Output.(output)
				out.unknown = true
				o.Output, o.Return = out, math.MaxInt64/2
			}
			cut = append(cut, o)
		}
		return porcupine.CheckOperationsTimeout(model, cut, patience) == porcupine.Illegal
	})
	if n == len(ops) {
		return ops
	}
	last := ops[n].Return
	return slices.DeleteFunc(ops, func(o porcupine.Operation) bool { return o.Call > last })
}

func printed(ops []porcupine.Operation) string {
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var s string
	for _, o := range ops {
		end := fmt.Sprintf("%9.3f", time.Duration(o.Return).Seconds()*1000)
		if o.Output.(output).unknown {
			end = "        ?"
		}
		s += fmt.Sprintf("  %9.3f..%s ms  client %-2d %-18v %+v\n", time.Duration(o.Call).Seconds()*1000, end, o.ClientId, o.Input, o.Output)
	}
	return s
}

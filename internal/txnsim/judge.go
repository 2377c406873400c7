package txnsim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// step is one operation as the model knows it: values are numbers that are never
// used twice, 0 is no value, and a condition on an index is one on the value that
// had it.
type step struct {
	verb txn.Verb
	key  string
	val  int
	// want is the value that a condition asks for.
	want int
	// saw is what the operation returned, if known: a number or a list.
	saw string
}

// operation is what a client did: one change or read, a list, or a transaction.
type operation struct {
	steps   []step
	unknown bool
	// faults are the steps that were reported as failed.
	faults []int
}

func (o operation) String() string {
	var s []string
	for _, st := range o.steps {
		t := fmt.Sprintf("%v %s", st.verb, st.key)
		switch st.verb {
		case txn.Set:
			t += fmt.Sprintf("=%d", st.val)
		case txn.CAS:
			t += fmt.Sprintf(" %d->%d", st.want, st.val)
		case txn.DeleteCAS, txn.CheckIndex:
			t += fmt.Sprintf(" %d", st.want)
		}
		if st.saw != "" {
			t += " saw " + st.saw
		}
		s = append(s, t)
	}
	t := strings.Join(s, "; ")
	if len(o.faults) > 0 {
		t += fmt.Sprint(" failed ", o.faults)
	}
	return t
}

// state is what the model's keys hold.
type state map[string]int

// listed prints what lies under a prefix.
func listed(s state, prefix string) string {
	var b strings.Builder
	b.WriteByte('[')
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(key, prefix) && s[key] != 0 {
			fmt.Fprintf(&b, "%s=%d ", key, s[key])
		}
	}
	b.WriteByte(']')
	return b.String()
}

// run carries out an operation: the state after it, which of its steps fail, and
// whether it saw what it should have.
func (o *operation) run(s state) (after state, faults []int, match bool) {
	after, match = maps.Clone(s), true
	for i, st := range o.steps {
		have := after[st.key]
		ok := true
		switch st.verb {
		case txn.Set:
			after[st.key] = st.val
		case txn.Delete:
			after[st.key] = 0
		case txn.CAS:
			if ok = have == st.want; ok {
				after[st.key] = st.val
			}
		case txn.DeleteCAS:
			if ok = have == st.want; ok {
				after[st.key] = 0
			}
		case txn.CheckIndex:
			ok = have == st.want && have != 0
		case txn.CheckNotExists:
			ok = have == 0
		case txn.Get, txn.GetOrEmpty:
			ok = have != 0 || st.verb == txn.GetOrEmpty
			match = match && (st.saw == "" || st.saw == fmt.Sprint(have))
		case txn.GetTree:
			match = match && (st.saw == "" || st.saw == listed(after, st.key))
		case txn.DeleteTree:
			for key := range after {
				if strings.HasPrefix(key, st.key) {
					after[key] = 0
				}
			}
		}
		if !ok {
			faults = append(faults, i)
		}
	}
	if len(faults) > 0 {
		return s, faults, true
	}
	return after, nil, match
}

// model is a store of many keys in which each operation is one step.
var model = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, in, _ any) (bool, any) {
		o := in.(operation)
		after, faults, match := o.run(s.(state))
		if !match || !slices.Equal(faults, o.faults) {
			return o.unknown, s
		}
		return true, after
	},
	Equal: func(a, b any) bool { return maps.Equal(live(a.(state)), live(b.(state))) },
}

func live(s state) state {
	l := maps.Clone(s)
	maps.DeleteFunc(l, func(_ string, v int) bool { return v == 0 })
	return l
}

// judgeTime bounds the search for an order; operations of unknown outcome can
// make it exponential.
const judgeTime = 2 * time.Second

// judge returns what is wrong with a history, or nil, and whether the search came
// to an end.
func judge(history []porcupine.Operation) (decided bool, err error) {
	switch porcupine.CheckOperationsTimeout(model, history, judgeTime) {
	case porcupine.Illegal:
		return true, fmt.Errorf("not strictly serializable:\n%s", printed(history))
	case porcupine.Unknown:
		return false, nil
	}
	return true, nil
}

func printed(history []porcupine.Operation) string {
	history = slices.Clone(history)
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var b strings.Builder
	for _, o := range history {
		end := fmt.Sprintf("%8.1f", time.Duration(o.Return).Seconds()*1000)
		if o.Input.(operation).unknown {
			end = "       ?"
		}
		fmt.Fprintf(&b, "  %8.1f..%s ms  client %d  %v\n", time.Duration(o.Call).Seconds()*1000, end, o.ClientId, o.Input)
	}
	return b.String()
}

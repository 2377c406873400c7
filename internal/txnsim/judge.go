package txnsim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/chord-plugin/chord-plugin/chord/register"
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
	// session is that of Lock, Unlock and CheckSession.
	session string
	// saw is what the operation returned, if known: a value or a list, as show and
	// listed print them.
	saw string
	// made is the session that begins.
	made cell
}

// Steps that are no verbs of transactions. Those of sessions have a session's ID as
// their key.
const (
	pop txn.Verb = 100 + iota
	expire
	sessionBegins
	sessionEnds
	sessionForgotten
	sessionGet
)

var stepNames = map[txn.Verb]string{pop: "pop", expire: "expire", sessionBegins: "begin session", sessionEnds: "end session", sessionForgotten: "forget session", sessionGet: "get session"}

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
		if name, ok := stepNames[st.verb]; ok {
			t = name + " " + st.key
		}
		switch st.verb {
		case txn.Set:
			t += fmt.Sprintf("=%d", st.val)
		case txn.Lock, txn.Unlock:
			t += fmt.Sprintf("=%d by %s", st.val, st.session)
		case txn.CheckSession:
			t += " by " + st.session
		case txn.CAS:
			t += fmt.Sprintf(" %d->%d", st.want, st.val)
		case txn.DeleteCAS, txn.CheckIndex, expire:
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

// store is what the model's keys hold, and its sessions, under their registers'
// keys.
type store map[string]cell

// cell is a key or a session.
type cell struct {
	val    int
	holder string // the session that holds the key
	past   string // the last one that held it when it ended
	// state, deletes and delays are a session's.
	state           register.SessionState
	deletes, delays bool
}

func (c cell) String() string {
	if c.val == 0 || c.holder == "" {
		return fmt.Sprint(c.val)
	}
	return fmt.Sprintf("%d@%s", c.val, c.holder)
}

// show prints what a client saw of a key as the model does.
func show(v *register.Value) string { return cell{val: number(v), holder: v.Holder()}.String() }

// listed prints what was seen of several keys, and lies under a prefix.
func listed(s map[string]string, prefix string) string {
	var b strings.Builder
	b.WriteByte('[')
	for _, key := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(key, prefix) && s[key] != "0" {
			fmt.Fprintf(&b, "%s=%s ", key, s[key])
		}
	}
	b.WriteByte(']')
	return b.String()
}

func (s store) listed(prefix string) string {
	shown := map[string]string{}
	for key, c := range s {
		if key[0] != 0 {
			shown[key] = c.String()
		}
	}
	return listed(shown, prefix)
}

func (s store) session(id string) cell { return s[register.SessionKey(id)] }

// end ends a session: all that it holds is released or deleted at once.
func (s store) end(id string) {
	ses := s.session(id)
	for key, c := range s {
		if c.holder == id {
			c.holder, c.past = "", id
			if ses.deletes {
				c.val = 0
			}
			s[key] = c
		}
	}
	ses.state = register.SessionEnded
	s[register.SessionKey(id)] = ses
}

// run carries out an operation: the state after it, which of its steps fail, and
// whether it saw what it should have.
func (o *operation) run(s store) (after store, faults []int, match bool) {
	after, match = maps.Clone(s), true
	for i, st := range o.steps {
		c := after[st.key]
		ok := true
		see := func(have string) { match = match && (st.saw == "" || st.saw == have) }
		put := func() { c.val = st.val; after[st.key] = c }
		remove := func() { after[st.key] = cell{past: c.past} }
		switch st.verb {
		case txn.Set:
			put()
		case txn.Delete:
			remove()
		case pop:
			see(c.String())
			remove()
		case txn.CAS:
			if ok = c.val == st.want; ok {
				put()
			}
		case txn.DeleteCAS:
			if ok = c.val == st.want; ok {
				remove()
			}
		case expire:
			match = match && c.val == st.want
			remove()
		case txn.CheckIndex:
			ok = c.val == st.want && c.val != 0
		case txn.CheckNotExists:
			ok = c.val == 0
		case txn.CheckSession:
			ok = c.val != 0 && c.holder == st.session
		case txn.Lock:
			past := after.session(c.past)
			ok = after.session(st.session).state == register.SessionLive &&
				(c.holder == st.session || c.holder == "" && (past.state != register.SessionEnded || !past.delays))
			if ok {
				c.holder, c.past = st.session, ""
				put()
			}
		case txn.Unlock:
			if ok = c.val != 0 && c.holder == st.session; ok {
				c.holder = ""
				put()
			}
		case txn.Get, txn.GetOrEmpty:
			ok = c.val != 0 || st.verb == txn.GetOrEmpty
			see(c.String())
		case txn.GetTree:
			see(after.listed(st.key))
		case txn.DeleteTree:
			for key, c := range after {
				if key[0] != 0 && strings.HasPrefix(key, st.key) {
					after[key] = cell{past: c.past}
				}
			}
		case sessionBegins:
			after[register.SessionKey(st.key)] = st.made
		case sessionEnds:
			after.end(st.key)
		case sessionForgotten:
			delete(after, register.SessionKey(st.key))
		case sessionGet:
			see(fmt.Sprint(after.session(st.key).state == register.SessionLive))
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
	Init: func() any { return store{} },
	Step: func(s, in, _ any) (bool, any) {
		o := in.(operation)
		after, faults, match := o.run(s.(store))
		if !match || !slices.Equal(faults, o.faults) {
			return o.unknown, s
		}
		return true, after
	},
	Equal: func(a, b any) bool { return maps.Equal(live(a.(store)), live(b.(store))) },
}

func live(s store) store {
	l := maps.Clone(s)
	maps.DeleteFunc(l, func(_ string, c cell) bool { return c == cell{} })
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

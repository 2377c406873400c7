package txnsim

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// run is one run: clients on a world.
type run struct {
	*world
	until   time.Duration // clients begin nothing after it
	keys    []string
	values  int
	history []porcupine.Operation
	// version is the index that a client last saw at a key, and its value.
	version map[string]version
	// indexes says which value an index of a key had.
	indexes map[string]map[uint64]int
	// work is what a client does: one operation, noted in *o as operate does.
	work func(e *port, o **operation) error
	// onError, if any, is told how operations fail.
	onError func(error)
	// atRest, if any, looks for what is left when all that was to end has.
	atRest   func() error
	sessions []*holder
	begun    []string // those that were made, in their order
	// calm: nothing goes wrong at any time.
	calm      bool
	shortest  time.Duration // that a client gives an operation
	active    int           // clients that have not ended
	processes []*process
	err       error
}

type version struct {
	index uint64
	val   int
}

// saw notes that a key had a value at an index, which it has for ever.
func (r *run) saw(key string, index uint64, val int) {
	if index == 0 {
		r.version[key] = version{}
		return
	}
	if r.indexes[key] == nil {
		r.indexes[key] = map[uint64]int{}
	}
	if have, ok := r.indexes[key][index]; ok && have != val && r.err == nil {
		r.err = fmt.Errorf("key %q had the values %d and %d at index %d", key, have, val, index)
	}
	r.indexes[key][index] = val
	r.version[key] = version{index, val}
}

// violated notes what must never be.
func (r *run) violated(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// client runs one operation after the other.
func (r *run) client(c int) {
	if r.Now >= r.until {
		r.active--
		return
	}
	n := r.nodes[r.Rand.IntN(members)]
	call := r.Now
	var o *operation
	record := func(unknown bool) {
		if o == nil || unknown && !o.writes() {
			return
		}
		ret := int64(r.Now)
		if o.unknown = unknown; unknown {
			ret = math.MaxInt64 / 2
			r.stats.Unknown++
		}
		r.stats.Operations++
		r.history = append(r.history, porcupine.Operation{ClientId: c, Input: *o, Call: int64(call), Return: ret})
	}
	ended := false
	again := func() { r.After(r.Between(0, 30*time.Millisecond), func() { r.client(c) }) }
	p := r.process(func() {
		r.stats.Deaths++
		if r.Chance(0.3) {
			r.restart(n.number)
		}
		if !ended {
			record(true)
			again()
		}
	})
	r.processes = append(r.processes, p)
	e := &port{w: r.world, p: p, n: n, client: c, deadline: r.Now + r.Between(r.shortest, max(3*time.Second, r.shortest+1))}
	var err error
	p.Spawn(func() { err = r.work(e, &o) }, func() {
		ended = true
		var failed *txn.Failed
		switch {
		case errors.As(err, &failed):
			r.stats.Failed++
			if o == nil {
				break
			}
			for _, f := range failed.Errors {
				o.faults = append(o.faults, f.Op)
			}
			record(false)
		case err == nil:
			record(false)
		case errors.Is(err, txn.ErrUnknown):
			record(true)
		case txn.KindOf(err) == txn.Conflict:
			r.stats.Conflicts++
		default:
			r.stats.Unavailable++
		}
		if err != nil && r.onError != nil {
			r.onError(err)
		}
		again()
	})
}

// writes reports whether the operation could change something.
func (o *operation) writes() bool { return slices.ContainsFunc(o.steps, step.writes) }

func (s step) writes() bool {
	switch s.verb {
	case txn.Set, txn.CAS, txn.Delete, txn.DeleteCAS, txn.DeleteTree, txn.Lock, txn.Unlock, pop:
		return true
	}
	return false
}

func (r *run) key() string { return r.keys[r.Rand.IntN(len(r.keys))] }

func (r *run) value() int { r.values++; return r.values }

func (r *run) prefix() string {
	key := r.key()
	return key[:r.Rand.IntN(2)*2] // all, or "a/" or "b/"
}

func data(v int) []byte { return []byte(strconv.Itoa(v)) }

func number(v *register.Value) int {
	if !v.Live {
		return 0
	}
	n, err := strconv.Atoi(string(v.Data))
	if err != nil {
		panic(err)
	}
	return n
}

// operate does one operation. What it may do is noted in *o before anything can
// take effect, and what it saw once it has ended.
func (r *run) operate(e *port, o **operation) error {
	switch x := r.Rand.Float64(); {
	case x < 0.12:
		return r.get(e, o)
	case x < 0.27:
		return r.change(e, o)
	case x < 0.42:
		return r.list(e, o, r.prefix())
	case x < 0.70:
		return r.oneShot(e, o)
	}
	return r.interactive(e, o)
}

func (r *run) get(e *port, o **operation) error {
	key := r.key()
	cell, err := e.n.c.Read(e, key)
	if err == nil {
		r.saw(key, cell.Index(), number(&cell))
		*o = &operation{steps: []step{{verb: txn.GetOrEmpty, key: key, saw: show(&cell)}}}
	}
	return err
}

func (r *run) change(e *port, o **operation) error {
	st := step{verb: txn.Set, key: r.key(), val: r.value()}
	c := register.Change{Kind: register.Put, Data: data(st.val)}
	if r.Chance(0.3) {
		st.verb, st.val, c = txn.Delete, 0, register.Change{Kind: register.Delete}
	}
	*o = &operation{steps: []step{st}}
	res, err := e.n.c.Change(e, st.key, c)
	if err == nil && c.Kind == register.Put {
		r.saw(st.key, res.Index, st.val)
	}
	return err
}

func (r *run) list(e *port, o **operation, prefix string) error {
	snap, err := e.n.c.Snapshot(e, txn.Range{Prefix: prefix, Values: true})
	if err != nil {
		return err
	}
	r.stats.Lists++
	s := map[string]string{}
	for i := range snap.Keys {
		kv := &snap.Keys[i]
		r.saw(kv.Key, kv.Index(), number(&kv.Value))
		s[kv.Key] = show(&kv.Value)
	}
	*o = &operation{steps: []step{{verb: txn.GetTree, key: prefix, saw: listed(s, prefix)}}}
	return nil
}

var verbs = []txn.Verb{
	txn.Set, txn.Set, txn.Set, txn.Delete, txn.CAS, txn.CAS, txn.DeleteCAS, txn.DeleteTree, txn.Get, txn.GetOrEmpty, txn.GetOrEmpty,
	txn.GetTree, txn.GetTree, txn.CheckIndex, txn.CheckNotExists,
}

func (r *run) oneShot(e *port, o **operation) error {
	op := &operation{}
	var ops []txn.Op
	for range 1 + r.Rand.IntN(4) {
		st := step{verb: verbs[r.Rand.IntN(len(verbs))], key: r.key()}
		t := txn.Op{Verb: st.verb}
		switch st.verb {
		case txn.DeleteTree, txn.GetTree:
			st.key = r.prefix()
		case txn.CAS, txn.DeleteCAS, txn.CheckIndex:
			v := r.version[st.key]
			t.Index, st.want = v.index, v.val
		}
		if st.verb == txn.Set || st.verb == txn.CAS {
			st.val = r.value()
			t.Data = data(st.val)
		}
		t.Key = st.key
		op.steps, ops = append(op.steps, st), append(ops, t)
	}
	*o = op
	results, err := e.n.c.Run(e, ops)
	if err != nil {
		return err
	}
	trees := map[int]map[string]string{}
	for i, st := range op.steps {
		if st.verb == txn.GetTree {
			trees[i] = map[string]string{}
		}
	}
	for i := range results {
		res := &results[i]
		st := &op.steps[res.Op]
		switch st.verb {
		case txn.Set, txn.CAS, txn.CheckIndex:
			continue
		case txn.GetTree:
			trees[res.Op][res.Key] = show(&res.Value)
		default:
			st.saw = show(&res.Value)
		}
		if written := op.lastWrite(res.Key); written == nil || res.Value.Index() == 0 || *written == number(&res.Value) {
			r.saw(res.Key, res.Value.Index(), number(&res.Value))
		}
	}
	for i, s := range trees {
		op.steps[i].saw = listed(s, "")
	}
	return nil
}

// lastWrite returns what the operation leaves at a key that it writes.
func (o *operation) lastWrite(key string) (val *int) {
	for i := range o.steps {
		st := &o.steps[i]
		switch st.verb {
		case txn.Set, txn.CAS, txn.Delete, txn.DeleteCAS:
			if st.key == key {
				val = &st.val
			}
		case txn.DeleteTree:
			if strings.HasPrefix(key, st.key) {
				val = new(int)
			}
		}
	}
	return val
}

func (r *run) interactive(e *port, o **operation) error {
	readOnly := r.Chance(0.25)
	tx, err := e.n.c.Begin(e, readOnly)
	if err != nil {
		return err
	}
	op := &operation{}
	wrote := map[string]int{}
	for range 1 + r.Rand.IntN(5) {
		switch x := r.Rand.Float64(); {
		case x < 0.4 || readOnly && x < 0.7:
			key := r.key()
			cell, err := tx.Get(e, key)
			if err != nil {
				return err
			}
			if _, own := wrote[key]; !own {
				r.saw(key, cell.Index(), number(&cell))
			}
			op.steps = append(op.steps, step{verb: txn.GetOrEmpty, key: key, saw: show(&cell)})
		case x < 0.6 || readOnly:
			prefix := r.prefix()
			items, _, err := tx.List(e, txn.Query{Prefix: prefix, Values: true})
			if err != nil {
				return err
			}
			s := map[string]string{}
			for _, item := range items {
				s[item.Name] = show(&item.Value)
			}
			op.steps = append(op.steps, step{verb: txn.GetTree, key: prefix, saw: listed(s, prefix)})
		case x < 0.9:
			st := step{verb: txn.Set, key: r.key(), val: r.value()}
			if err := tx.Put(e, st.key, data(st.val), 0, 0); err != nil {
				return err
			}
			op.steps, wrote[st.key] = append(op.steps, st), st.val
		default:
			st := step{verb: txn.Delete, key: r.key()}
			if err := tx.Delete(e, st.key); err != nil {
				return err
			}
			op.steps, wrote[st.key] = append(op.steps, st), 0
		}
	}
	*o = op
	after, err := tx.Commit(e)
	if err == nil {
		for key, v := range after {
			r.saw(key, v.Index(), wrote[key])
		}
	}
	return err
}

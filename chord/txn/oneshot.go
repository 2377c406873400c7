package txn

import (
	"errors"
	"slices"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Run runs a one-shot transaction. When checks fail the error is a *Failed that
// names each. A transaction that loses against others is tried again, with its
// old age, before it ends with a conflict.
func (c *Coordinator) Run(r Registers, ops []Op) ([]Result, error) {
	if err := check(ops); err != nil {
		return nil, err
	}
	if len(ops) == 1 && ops[0].alone() {
		return c.runOne(r, &ops[0])
	}
	var id ID
	if slices.ContainsFunc(ops, func(op Op) bool { return op.Verb.writes() }) {
		start, err := r.NewID()
		if err != nil {
			return nil, unavailable("", err)
		}
		id.Start = start
	}
	began, pause := r.Now(), c.cfg.Pause
	for {
		results, err := c.attempt(r, &id, ops)
		if KindOf(err) != Conflict {
			return results, err
		}
		if id.Attempt++; id.Attempt >= maxAttempts || r.Now()-began > c.cfg.Life {
			return nil, err
		}
		var e *Error
		if errors.As(err, &e) && !e.by.IsZero() {
			err = c.await(r, e.by, id)
		} else {
			err = r.Sleep(pause)
			pause = c.pause(pause)
		}
		if err != nil {
			return nil, unavailable("", err)
		}
	}
}

// alone reports whether the operation by itself is one change of one register.
func (op *Op) alone() bool {
	return op.Verb == Set || op.Verb == CAS || op.Verb == Delete || op.Verb == DeleteCAS
}

func (c *Coordinator) runOne(r Registers, op *Op) ([]Result, error) {
	w := op.change()
	w.If, w.Index = op.Verb == CAS || op.Verb == DeleteCAS, op.Index
	res, err := c.changeOne(r, op.Key, w)
	switch {
	case err != nil:
		return nil, err
	case res.Outcome == register.Refused:
		return nil, &Failed{[]OpError{{Op: 0, Key: op.Key, Fault: op.indexFault(res.Index != 0), Index: res.Index}}}
	case w.Remove:
		return nil, nil
	}
	return []Result{{Key: op.Key, Value: res.Value}}, nil
}

// change is what the operation writes.
func (op *Op) change() register.Change {
	if op.Verb == Delete || op.Verb == DeleteCAS {
		return register.Change{Remove: true}
	}
	return register.Change{Data: slices.Clone(op.Data), Flags: op.Flags, Expires: op.Expires}
}

func (op *Op) indexFault(exists bool) Fault {
	switch {
	case !exists:
		return FaultMissing
	case op.Index == 0:
		return FaultExists
	}
	return FaultIndex
}

// oneShot is one attempt of a one-shot transaction.
type oneShot struct {
	tx      *Tx
	r       Registers
	results []Result
	failed  []OpError
	// own are the places in results of what the transaction wrote itself; trees is
	// how many keys it deleted as trees.
	own   []int
	trees int
	// several operations are in it.
	several bool
	// sessions are those that were looked at.
	sessions map[string]register.Session
}

// attempt makes one attempt, or a second one at once, which it counts.
func (c *Coordinator) attempt(r Registers, id *ID, ops []Op) ([]Result, error) {
	o := &oneShot{tx: c.begin(r, *id), r: r, several: len(ops) > 1, sessions: map[string]register.Session{}}
	defer func() { *id = o.tx.id }()
	o.tx.oneShot, o.tx.guards = true, id.Attempt > 0
	o.tx.maxWrites = MaxOps + MaxTree
	if err := o.fetch(ops); err != nil {
		return nil, err
	}
	for i := range ops {
		if err := o.run(i, &ops[i]); err != nil {
			return nil, err
		}
	}
	if len(o.failed) > 0 {
		if err := o.tx.confirm(r); err != nil {
			return nil, err
		}
		return nil, &Failed{o.failed}
	}
	after, err := o.tx.Commit(r)
	if err != nil {
		return nil, err
	}
	for _, i := range o.own {
		res := &o.results[i]
		if v, ok := after[res.Key]; ok && v.Live { // else made and deleted
			v.Data, v.Flags, v.Expires = res.Value.Data, res.Value.Flags, res.Value.Expires
			res.Value = v
		}
	}
	return o.results, nil
}

// fetch reads at once what the operations will look at.
func (o *oneShot) fetch(ops []Op) error {
	var keys []string
	for i := range ops {
		if !ops[i].Verb.blind() && !slices.Contains(keys, ops[i].Key) {
			keys = append(keys, ops[i].Key)
		}
	}
	values := make([]register.Value, len(keys))
	err := o.r.Each(len(keys), func(i int) error {
		var err error
		values[i], err = o.tx.c.read(o.r, keys[i], true)
		return err
	})
	for i, key := range keys {
		if err == nil {
			err = o.tx.remember(key, values[i])
		}
	}
	return err
}

// get returns what the transaction sees at a key, and whether it wrote that.
func (o *oneShot) get(key string) (v register.Value, own bool, err error) {
	w, own := o.tx.writes[key]
	if own && (w.Remove || w.Take || w.Fresh) {
		return w.Leaves(&register.Value{}), true, nil
	}
	if v, err = o.tx.read(o.r, key); own {
		v = w.Leaves(&v)
	}
	return v, own, err
}

// run runs one operation and notes what it returns, or how it failed.
func (o *oneShot) run(i int, op *Op) error {
	switch op.Verb {
	case Set:
		return o.store(i, op, op.change())
	case Delete:
		return o.tx.Delete(o.r, op.Key)
	case GetTree, DeleteTree:
		return o.tree(i, op)
	}
	v, own, err := o.get(op.Key)
	if err != nil {
		return err
	}
	fault, err := o.check(op, &v)
	if err != nil {
		return err
	}
	if fault != 0 {
		o.failed = append(o.failed, OpError{Op: i, Key: op.Key, Fault: fault, Index: v.Index()})
		return nil
	}
	switch op.Verb {
	case CAS:
		return o.store(i, op, op.change())
	case DeleteCAS:
		return o.tx.Delete(o.r, op.Key)
	case Lock, Unlock:
		return o.store(i, op, o.holding(op, &v))
	case CheckNotExists:
		return nil
	case CheckIndex, CheckSession:
		v.Data = nil
	}
	o.result(Result{Op: i, Key: op.Key, Value: v}, own)
	return nil
}

// check returns why an operation fails on v, or 0. What the transaction wrote
// itself has no index yet, so no index is its.
func (o *oneShot) check(op *Op, v *register.Value) (Fault, error) {
	switch op.Verb {
	case CAS, DeleteCAS:
		if v.Live != (op.Index != 0) || v.Index() != op.Index {
			return op.indexFault(v.Live), nil
		}
	case CheckIndex:
		if !v.Live || op.Index == 0 || v.Index() != op.Index {
			return op.indexFault(v.Live), nil
		}
	case Get:
		if !v.Live {
			return FaultMissing, nil
		}
	case CheckNotExists:
		if v.Live {
			return FaultExists, nil
		}
	case CheckSession, Lock, Unlock:
		return o.checkHolder(op, v)
	}
	return 0, nil
}

func (o *oneShot) result(res Result, own bool) {
	if own && res.Value.Live {
		o.own = append(o.own, len(o.results))
	}
	o.results = append(o.results, res)
}

// store buffers a write and its result.
func (o *oneShot) store(i int, op *Op, w register.Change) error {
	if err := o.tx.write(o.r, op.Key, w); err != nil {
		return err
	}
	v := w.Leaves(&register.Value{})
	v.Data = nil
	o.result(Result{Op: i, Key: op.Key, Value: v}, true)
	return nil
}

func (o *oneShot) tree(i int, op *Op) error {
	items, _, err := o.tx.List(o.r, Query{Prefix: op.Key, Values: op.Verb == GetTree})
	if err != nil {
		return err
	}
	if op.Verb == DeleteTree {
		if o.trees += len(items); o.trees > MaxTree {
			o.failed = append(o.failed, OpError{Op: i, Key: op.Key, Fault: FaultTree})
			return nil
		}
	}
	for _, item := range items {
		if op.Verb == GetTree {
			_, own := o.tx.writes[item.Name]
			o.result(Result{Op: i, Key: item.Name, Value: item.Value}, own)
		} else if err := o.tx.Delete(o.r, item.Name); err != nil {
			return err
		}
	}
	return nil
}

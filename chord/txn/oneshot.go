package txn

import (
	"errors"
	"slices"
)

// Run runs a one-shot transaction. When checks fail the error is a *Failed that
// names each. A transaction that loses against others is tried again, with its
// old age, before it ends with a conflict.
func (c *Coordinator) Run(r Registers, sessions Sessions, ops []Op) ([]Result, error) {
	if err := check(ops); err != nil {
		return nil, err
	}
	if len(ops) == 1 && ops[0].alone() {
		return c.runOne(r, ops[0])
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
		results, err := c.attempt(r, id, sessions, ops)
		if KindOf(err) != Conflict {
			return results, err
		}
		if id.Attempt++; id.Attempt == maxAttempts || r.Now()-began > c.cfg.Life {
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

func (c *Coordinator) runOne(r Registers, op Op) ([]Result, error) {
	w := op.content()
	w.If, w.Index = op.Verb == CAS || op.Verb == DeleteCAS, op.Index
	a, err := c.Write(r, op.Key, w)
	switch {
	case errors.Is(err, ErrUnknown) && KindOf(err) == 0:
		return nil, &Error{Kind: Unknown, Key: op.Key, Message: "the change may have happened; read the key before you decide", Cause: err}
	case err != nil:
		return nil, unavailable(op.Key, err)
	case a.Outcome == Refused:
		return nil, &Failed{[]OpError{{Op: 0, Key: op.Key, Fault: op.indexFault(a.Index != 0), Index: a.Index}}}
	case !w.Live:
		return nil, nil
	}
	return []Result{{Key: op.Key, Cell: Cell{Content: Content{Live: true, Flags: op.Flags}, Create: a.Create, Stamp: a.Index}}}, nil
}

// content is what the operation writes.
func (op *Op) content() Write {
	if op.Verb == Delete || op.Verb == DeleteCAS {
		return Write{}
	}
	return Write{Content: Content{Live: true, Data: slices.Clone(op.Data), Flags: op.Flags}, KeepLock: true}
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
}

func (c *Coordinator) attempt(r Registers, id ID, sessions Sessions, ops []Op) ([]Result, error) {
	o := &oneShot{tx: c.begin(r, id), r: r}
	o.tx.oneShot, o.tx.guards, o.tx.asked = true, id.Attempt > 0, sessions
	if err := o.fetch(ops); err != nil {
		return nil, err
	}
	for i := range ops {
		fault, err := o.do(i, &ops[i])
		if err != nil {
			return nil, err
		}
		if fault != 0 {
			cell, err := o.tx.Get(r, ops[i].Key)
			if err != nil {
				return nil, err
			}
			o.failed = append(o.failed, OpError{Op: i, Key: ops[i].Key, Fault: fault, Index: cell.Index()})
		}
	}
	if len(o.failed) > 0 {
		if err := o.tx.confirm(r); err != nil {
			return nil, err
		}
		return nil, &Failed{o.failed}
	}
	versions, err := o.tx.Commit(r)
	if err != nil {
		return nil, err
	}
	for i := range o.results {
		if cell := &o.results[i].Cell; cell.Live && cell.Stamp == 0 { // its own
			v := versions[o.results[i].Key]
			cell.Stamp, cell.Create = v.Modify, v.Create
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
	cells := make([]Cell, len(keys))
	err := o.r.Each(len(keys), func(i int) error {
		var err error
		cells[i], err = o.tx.c.read(o.r, keys[i], ID{}, true)
		return err
	})
	for i, key := range keys {
		if err == nil {
			err = o.tx.remember(key, cells[i])
		}
	}
	return err
}

// do runs one operation; a fault is a check that failed.
func (o *oneShot) do(i int, op *Op) (Fault, error) {
	switch op.Verb {
	case Set:
		return 0, o.store(i, op, op.content())
	case Delete:
		return 0, o.tx.Delete(o.r, op.Key)
	case GetTree, DeleteTree:
		return 0, o.tree(i, op)
	}
	cell, err := o.tx.Get(o.r, op.Key)
	if err != nil {
		return 0, err
	}
	// What the transaction wrote itself has no index yet, so no index is its.
	is := cell.Live == (op.Index != 0) && cell.Index() == op.Index
	switch op.Verb {
	case CAS, DeleteCAS, CheckIndex:
		switch {
		case !is:
			return op.indexFault(cell.Live), nil
		case op.Verb == CAS:
			return 0, o.store(i, op, op.content())
		case op.Verb == DeleteCAS:
			return 0, o.tx.Delete(o.r, op.Key)
		}
	case Get, GetOrEmpty:
		if op.Verb == Get && !cell.Live {
			return FaultMissing, nil
		}
		o.results = append(o.results, Result{Op: i, Key: op.Key, Cell: cell})
	case CheckNotExists:
		if cell.Live {
			return FaultExists, nil
		}
	case CheckSession, Lock, Unlock:
		return o.locking(i, op, cell)
	}
	return 0, nil
}

// store buffers a write and its result.
func (o *oneShot) store(i int, op *Op, w Write) error {
	if err := o.tx.write(o.r, op.Key, w); err != nil {
		return err
	}
	cell := Cell{Content: w.Content}
	cell.Data = nil
	o.results = append(o.results, Result{Op: i, Key: op.Key, Cell: cell})
	return nil
}

func (o *oneShot) tree(i int, op *Op) error {
	items, _, err := o.tx.List(o.r, Query{Prefix: op.Key, Values: op.Verb == GetTree})
	if err != nil {
		return err
	}
	for _, item := range items {
		if op.Verb == GetTree {
			o.results = append(o.results, Result{Op: i, Key: item.Name, Cell: item.Cell})
		} else if err := o.tx.Delete(o.r, item.Name); err != nil {
			return err
		}
	}
	return nil
}

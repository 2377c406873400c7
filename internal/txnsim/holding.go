package txnsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/session"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// RunSessions runs clients that lock, read and write few keys, with sessions that
// end at any time, under every fault in most seeds, and returns what is wrong with
// what they saw and with the lives of the sessions, or nil.
func RunSessions(o Options) (Stats, error) {
	r := newRun(o.Seed, o.Duration)
	defer r.close()
	r.calm = r.Chance(0.2)
	r.faulty = !r.calm
	if r.faulty {
		r.dying = []float64{0, 0.004, 0.02}[r.Rand.IntN(3)]
	}
	r.keys = []string{"a/1", "b/1", "a/2"}[:2+r.Rand.IntN(2)]
	r.owners()
	r.holding()
	for range 2 + r.Rand.IntN(2) {
		r.keep()
	}
	if err := r.clients(3+r.Rand.IntN(2), r.hold); err != nil {
		return r.stats, err
	}
	decided, err := judge(r.history)
	if !decided {
		r.stats.Undecided++
	}
	return r.stats, err
}

// hold does one operation, as operate does.
func (r *run) hold(e *port, o **operation) error {
	switch x := r.Rand.Float64(); {
	case x < 0.15:
		return r.get(e, o)
	case x < 0.30:
		return r.changeHeld(e, o)
	case x < 0.40:
		return r.list(e, o, r.prefix())
	case x < 0.85:
		return r.lock(e, o)
	case x < 0.93:
		return r.readThenWrite(e, o)
	case x < 0.97:
		return r.getSession(e, o)
	}
	return session.Destroy(e.n.c, e, r.session(), r.named(e))
}

// session returns one of the newest sessions that have begun, and may have ended.
func (r *run) session() string {
	n := len(r.begun)
	if n == 0 {
		return "none"
	}
	return r.begun[n-1-r.Rand.IntN(min(n, 4))]
}

// lifetime is for how long a key that is written lives.
func (r *run) lifetime() time.Duration {
	if r.Chance(0.6) {
		return 0
	}
	return r.Between(100*time.Millisecond, 500*time.Millisecond)
}

func (r *run) getSession(e *port, o **operation) error {
	id := r.session()
	info, err := session.Get(e, id)
	if err == nil {
		*o = &operation{steps: []step{{verb: sessionGet, key: id, saw: fmt.Sprint(info.State == register.SessionLive)}}}
	}
	return err
}

func (r *run) changeHeld(e *port, o **operation) error {
	st := step{verb: txn.Set, key: r.key(), val: r.value()}
	c := register.Change{Kind: register.Put, Data: data(st.val), Expires: r.lifetime()}
	switch x := r.Rand.Float64(); {
	case x < 0.2:
		st.verb, st.val, c = txn.Delete, 0, register.Change{Kind: register.Delete}
	case x < 0.4:
		st.verb, st.val, c = pop, 0, register.Change{Kind: register.Pop}
	}
	op := &operation{steps: []step{st}}
	*o = op
	res, err := e.n.c.Change(e, st.key, c)
	switch {
	case err != nil:
	case c.Kind == register.Put:
		r.saw(st.key, res.Index, st.val)
	case c.Kind == register.Pop:
		op.steps[0].saw = show(&res.Value)
	}
	return err
}

var lockVerbs = []txn.Verb{
	txn.Lock, txn.Lock, txn.Lock, txn.Lock, txn.Lock, txn.Unlock, txn.Unlock, txn.CheckSession, txn.Set, txn.Set, txn.Delete,
	txn.CAS, txn.CheckNotExists, txn.GetOrEmpty, txn.GetOrEmpty, txn.Get, txn.GetTree, txn.DeleteTree,
}

// lock runs a one-shot transaction that locks and unlocks, among others.
func (r *run) lock(e *port, o **operation) error {
	op := &operation{}
	var ops []txn.Op
	for range 1 + r.Rand.IntN(3) {
		st := step{verb: lockVerbs[r.Rand.IntN(len(lockVerbs))], key: r.key()}
		t := txn.Op{Verb: st.verb}
		switch st.verb {
		case txn.DeleteTree, txn.GetTree:
			st.key = r.prefix()
		case txn.Lock, txn.Unlock:
			st.session = r.session()
			if st.verb == txn.Lock && r.Chance(0.15) {
				st.key = fmt.Sprintf("quiet/%d", r.Rand.IntN(4)) // which is hardly ever read
			}
		case txn.CheckSession:
			st.session = []string{"", r.session()}[r.Rand.IntN(2)]
		case txn.Set, txn.CAS:
			t.Expires = r.lifetime()
		}
		switch st.verb {
		case txn.Set, txn.CAS, txn.Lock, txn.Unlock:
			st.val = r.value()
			t.Data = data(st.val)
		}
		t.Key, t.Session = st.key, st.session
		op.steps, ops = append(op.steps, st), append(ops, t)
	}
	*o = op
	results, err := e.n.c.Run(e, ops)
	if err != nil {
		return err
	}
	trees := map[int]map[string]string{}
	for i, st := range op.steps {
		switch st.verb {
		case txn.GetTree:
			trees[i] = map[string]string{}
		case txn.Lock:
			r.stats.Locks++
		}
	}
	for i := range results {
		res := &results[i]
		switch st := &op.steps[res.Op]; st.verb {
		case txn.GetTree:
			trees[res.Op][res.Key] = show(&res.Value)
		case txn.Get, txn.GetOrEmpty:
			st.saw = show(&res.Value)
		case txn.Lock:
			if h := res.Value.Holding; len(op.steps) == 1 && (h.Holder() != st.session || h.Token == 0 || h.Token > res.Value.Index()) {
				r.violated("key %q was locked by %s: %+v", res.Key, st.session, res.Value)
			}
		}
	}
	for i, s := range trees {
		op.steps[i].saw = listed(s, "")
	}
	for i := range op.steps {
		// What the transaction wrote itself shows the holder that it has in the end.
		if later := op.steps[i+1:]; slices.ContainsFunc(later, step.changesHolder) && slices.ContainsFunc(op.steps[:i], step.writes) {
			op.steps[i].saw = ""
		}
	}
	return nil
}

func (s step) changesHolder() bool {
	return s.verb == txn.Lock || s.verb == txn.Unlock || s.verb == txn.Delete || s.verb == txn.DeleteTree
}

// readThenWrite runs an interactive transaction.
func (r *run) readThenWrite(e *port, o **operation) error {
	tx, err := e.n.c.Begin(e, false)
	if err != nil {
		return err
	}
	op := &operation{}
	for range r.Rand.IntN(3) {
		if r.Chance(0.3) {
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
			continue
		}
		key := r.key()
		v, err := tx.Get(e, key)
		if err != nil {
			return err
		}
		op.steps = append(op.steps, step{verb: txn.GetOrEmpty, key: key, saw: show(&v)})
	}
	for range 1 + r.Rand.IntN(2) {
		st := step{verb: txn.Set, key: r.key(), val: r.value()}
		if r.Chance(0.3) {
			st.verb, st.val = txn.Delete, 0
			err = tx.Delete(e, st.key)
		} else {
			err = tx.Put(e, st.key, data(st.val), 0, r.lifetime())
		}
		if err != nil {
			return err
		}
		op.steps = append(op.steps, st)
	}
	*o = op
	_, err = tx.Commit(e)
	return err
}

package txn

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Commit makes what the transaction wrote seen, all of it at one moment, and
// returns what each written key is after it, without data. Its error tells whether
// that may have happened: see Kind.
func (tx *Tx) Commit(r Registers) (map[string]register.Value, error) {
	err := tx.usable(r)
	tx.over = true
	if err != nil {
		return nil, err
	}
	keys := slices.Sorted(maps.Keys(tx.writes))
	switch {
	case len(keys) == 0:
		return nil, tx.confirm(r)
	case len(keys) == 1 && !tx.validates():
		return tx.commitOne(r, keys[0])
	case tx.guards:
		for key := range tx.reads {
			if _, ok := tx.writes[key]; !ok {
				tx.writes[key] = register.Change{Guard: true}
			}
		}
		keys = slices.Sorted(maps.Keys(tx.writes))
	}
	for agains := 0; ; tx.id.Attempt++ {
		k := &commit{c: tx.c, tx: tx, id: tx.id, keys: keys, validates: tx.validates(), answers: make([]register.Value, len(keys)), began: r.Now()}
		after, err := k.run(r)
		if k.again {
			agains++
		}
		if !k.anew && (!k.again || agains > maxAgain) {
			return after, err
		}
	}
}

// validates reports whether the transaction depends on what it does not write. Of
// several keys that it writes those are such which a session held when they were
// read: the session's end changes them for readers at once, without a change there
// that an intent would keep away.
func (tx *Tx) validates() bool {
	if len(tx.ranges) > 0 || len(tx.sessions) > 0 {
		return true
	}
	for key, v := range tx.reads {
		if _, ok := tx.writes[key]; !ok || len(tx.writes) > 1 && v.Holder() != "" && holds(ruleHeldRead) {
			return true
		}
	}
	return false
}

// conditional returns the write of a key with the condition that the key is as
// it was read.
func (tx *Tx) conditional(key string) register.Change {
	w := tx.writes[key]
	w.Kind, w.Txn = register.Place, tx.id
	if v, ok := tx.reads[key]; ok {
		w.If, w.Index, w.Alive = true, v.Index(), v.Holder()
	}
	return w
}

// commitOne: what concerns one key is one change of one register.
func (tx *Tx) commitOne(r Registers, key string) (map[string]register.Value, error) {
	w := tx.conditional(key)
	w.Fences = tx.fences
	res, err := tx.c.changeOne(r, key, w)
	switch {
	case err != nil:
		return nil, err
	case res.Outcome == register.Refused:
		return nil, conflict(key, "the key changed since the transaction read it; try again")
	}
	return map[string]register.Value{key: res.Value}, nil
}

// changeOne makes a Put or a Delete of what would be placed.
func (c *Coordinator) changeOne(r Registers, key string, w register.Change) (register.Result, error) {
	w.Kind, w.Txn, w.Tell = register.Put, ID{}, true
	if w.Remove {
		w = register.Change{Kind: register.Delete, If: w.If, Index: w.Index, Alive: w.Alive, Fences: w.Fences}
	}
	res, err := c.Change(r, key, w)
	switch {
	case errors.Is(err, ErrUnknown):
		return res, &Error{Kind: Unknown, Key: key, Message: "the change may have happened; read the key before you decide", Cause: err}
	case err != nil:
		return res, unavailable(key, err)
	case res.Outcome == register.Fenced:
		return res, fenced(key)
	case res.Outcome == register.Oversized:
		return res, tooLarge(key, "put failed due to value being too large: with a fence it must fit beside the old one; delete that first")
	}
	if res.Outcome == register.Done && w.Kind == register.Put && !res.Value.Live {
		// It happened, as was found out later; what else the key says is lost.
		res.Value = register.Value{Live: true, Flags: w.Flags, Expires: w.Expires, Hidden: true, Shown: res.Index}
	}
	return res, nil
}

// commit is one attempt to commit by intents.
type commit struct {
	c       *Coordinator
	tx      *Tx
	id      ID // of this attempt
	keys    []string
	answers []register.Value // what each key is after it
	began   time.Duration
	// validates is what the status says.
	validates bool

	mu     sync.Mutex
	failed bool // an intent could not be placed: the others need not wait
	anew   bool // it must validate, and did not say so
	// again: it was given up, but not because of another transaction: a change of its
	// own may have happened, or come yet, or it took too long. Only this node could
	// commit it, so that another attempt can be made.
	again bool
}

func (k *commit) run(r Registers) (map[string]register.Value, error) {
	if err := k.create(r); err != nil {
		return nil, err
	}
	if err := k.place(r); err != nil {
		return nil, k.undo(r, err)
	}
	if !holds(ruleApplyAfter) {
		for _, key := range k.keys {
			_ = resolve(r, key, register.Ended{Txn: k.id, Committed: true})
		}
	}
	// Nudges from before the first validation only make for a second one.
	var nudges uint64
	for range maxRounds {
		if err := k.validate(r); err != nil {
			return nil, k.undo(r, err)
		}
		st, err := decide(r, k.id, register.Change{Kind: register.Commit, Index: nudges, Fences: k.tx.fences})
		if err == nil && st.State == register.Absent && !holds(ruleCreateFirst) {
			st.State = register.Committed
			err = create(r, k.id, register.Status{State: register.Committed, Keys: k.keys})
		}
		switch {
		case errors.Is(err, ErrUnknown):
			return k.doubt(r, err)
		case err != nil:
			return nil, k.undo(r, unavailable("", err))
		case st.State == register.Committed:
			return k.done(r), nil
		case st.State != register.Pending:
			return nil, k.undo(r, &Error{Kind: Conflict, Message: "another transaction was in the way and won; try again", by: st.By})
		case r.Now()-k.began > k.c.cfg.Timeout:
			k.mayTryAgain(true)
			return nil, k.undo(r, k.late())
		}
		nudges = st.Nudges
	}
	k.mayTryAgain(true)
	return nil, k.undo(r, conflict("", "the transaction's keys are read too often for it to validate what it read; try again"))
}

// create creates the status, before any intent: so that an intent without one is
// always of a transaction that is over.
func (k *commit) create(r Registers) error {
	if !holds(ruleCreateFirst) {
		return nil
	}
	st := register.Status{State: register.Pending, Validates: k.validates, Keys: k.keys}
	err := create(r, k.id, st)
	if errors.Is(err, ErrUnknown) {
		st, err := status(r, k.id)
		if err == nil && st.State == register.Pending {
			return nil
		}
		k.mayTryAgain(err == nil)
		r.Later(k.finish) // it may be there, or come yet; then a sweep finds it
	}
	if err != nil {
		return unavailable("", err)
	}
	return nil
}

// place puts the intents beside the old values: that of the first key alone, so
// that transactions on the same keys meet where they hold nothing, then the
// others at once. They can not wait for each other in a circle, since only the
// younger waits for the older.
func (k *commit) place(r Registers) error {
	if err := k.placeOne(r, 0); err != nil {
		return err
	}
	return r.Each(len(k.keys)-1, func(i int) error {
		err := k.placeOne(r, i+1)
		if err != nil {
			k.fail()
		}
		return err
	})
}

// mayTryAgain notes that another attempt may be better off, if the registers answer.
func (k *commit) mayTryAgain(answer bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.again = k.again || answer
}

func (k *commit) fail() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed = true
}

func (k *commit) hasFailed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed
}

func (k *commit) placeOne(r Registers, i int) error {
	key := k.keys[i]
	w := k.tx.conditional(key)
	var pause time.Duration
	for !k.hasFailed() {
		res, err := r.Change(key, w)
		if errors.Is(err, ErrUnknown) {
			// Not again if it can not be seen: the first could come later still, also
			// after the second was applied, and would then be applied twice.
			if !holds(rulePlaceOnce) {
				continue
			}
			cell, readErr := r.Read(key)
			if readErr == nil && cell.Intent != nil && cell.Intent.Txn == k.id {
				applied := cell.Applied()
				res, err = register.Result{Outcome: register.Done, Value: applied.Head()}, nil
			} else {
				k.mayTryAgain(readErr == nil)
			}
		}
		if err != nil {
			return unavailable(key, err)
		}
		switch res.Outcome {
		case register.Done:
			k.answers[i] = res.Value
			return nil
		case register.Refused:
			return conflict(key, "the key changed since the transaction read it; try again")
		case register.Oversized:
			return tooLarge(key, "put failed due to value being too large: the new value does not fit beside the old one; write it outside of a transaction, or delete the old one first")
		}
		if res.Value.Intent == nil {
			if w.Alive, err = k.assert(r, key, res.Value.Session); err != nil {
				return err
			}
			continue
		}
		by := res.Value.Intent.Txn
		// Had it read the key, what it read is lost if the other commits.
		over, settled, err := k.c.settle(r, by, k.id, w.If)
		switch {
		case err != nil:
			return unavailable(key, err)
		case settled:
			w.Over = over
			continue
		case r.Now()-k.began > k.c.cfg.Timeout:
			return blocked(key, by)
		}
		pause = k.c.pause(pause)
		if err := r.Sleep(pause); err != nil {
			return unavailable(key, err)
		}
	}
	return conflict(key, "the transaction failed at another key")
}

// assert is Coordinator.assert. The transaction depends on a session that holds
// what it writes: it must come before the session's end, and readers of old values
// before it must nudge it.
func (k *commit) assert(r Registers, key, holder string) (string, error) {
	alive, err := k.c.assert(r, key, holder)
	if err != nil || alive == "" {
		return alive, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tx.depend(alive)
	if k.anew = !k.validates; k.anew {
		return alive, conflict(key, "a session holds the key; try again")
	}
	return alive, nil
}

func (k *commit) late() error {
	return conflict("", "the transaction took longer than "+k.c.cfg.Timeout.String()+" to commit; try again")
}

// done returns what was changed, once the status is COMMITTED. The intents are
// applied in the background: whoever meets one meanwhile knows its value.
func (k *commit) done(r Registers) map[string]register.Value {
	r.Later(func(r Registers) { _ = k.c.clear(r, k.id, k.keys, true) }) // if it fails, a sweep does it
	after := make(map[string]register.Value, len(k.keys))
	for i, key := range k.keys {
		if k.tx.writes[key].Guard {
			continue
		}
		after[key] = k.answers[i]
	}
	return after
}

// undo removes what a transaction that did not commit has left, and returns why.
func (k *commit) undo(r Registers, why error) error {
	if _, err := k.c.finish(r, k.id, k.keys); err != nil {
		r.Later(k.finish)
	}
	return why
}

// finish is the last try of a coordinator to bring its transaction to an end; if
// it fails, a sweep does it.
func (k *commit) finish(r Registers) { _, _ = k.c.finish(r, k.id, k.keys) }

// doubt finds out what became of a transaction whose commit point is in doubt:
// once it is aborted it can not commit any more.
func (k *commit) doubt(r Registers, cause error) (map[string]register.Value, error) {
	for range maxAgain {
		st, err := abort(r, k.id, ID{})
		switch {
		case err == nil && st.State == register.Committed:
			return k.done(r), nil
		case err == nil && st.State == register.Aborted:
			k.mayTryAgain(true)
			return nil, k.undo(r, unavailable("", cause))
		}
		if !errors.Is(err, ErrUnknown) {
			break
		}
	}
	r.Later(k.finish)
	return nil, &Error{Kind: Unknown, Message: "the transaction may have committed; read before you decide", Cause: cause}
}

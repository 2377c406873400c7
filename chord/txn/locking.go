package txn

import (
	"slices"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// checkHolder returns why an operation that concerns the lock on a key fails, or 0,
// given what the transaction sees there: a holder in that lived when it was read.
func (o *oneShot) checkHolder(op *Op, v *register.Value) (Fault, error) {
	switch {
	case op.Verb == Lock:
	case !v.Live:
		return FaultMissing, nil
	case v.Holder() != op.Session:
		return FaultNotHeld, nil
	default:
		return 0, nil
	}
	s, err := o.session(op.Session)
	switch {
	case err != nil:
		return 0, err
	case s.State != register.SessionLive:
		return FaultSession, nil
	}
	o.tx.depend(op.Session)
	switch v.Holder() {
	case op.Session:
		return 0, nil
	case "":
	default:
		return FaultLocked, nil
	}
	// Deleting a key ends no lock delay.
	base, err := o.tx.read(o.r, op.Key)
	if err != nil || !base.Over || !holds(ruleLockDelay) {
		return 0, err
	}
	if s, err = o.session(base.Session); err != nil || !s.Delays() {
		return 0, err
	}
	o.tx.delays = append(o.tx.delays, base.Session)
	return FaultLocked, nil
}

// session returns a session as the attempt has seen it first.
func (o *oneShot) session(id string) (register.Session, error) {
	if s, ok := o.sessions[id]; ok {
		return s, nil
	}
	o.tx.asked = o.several
	s, err := o.tx.c.session(o.r, id)
	if err == nil {
		o.sessions[id] = s
	}
	return s, err
}

// holding is what Lock and Unlock write on top of v, once checked.
func (o *oneShot) holding(op *Op, v *register.Value) register.Change {
	w := op.change()
	w.Take = true
	switch {
	case op.Verb == Unlock:
		w.Holding = register.Holding{Holders: v.Holders}
	case v.Holder() == op.Session:
		w.Holding = v.Holding
	default:
		w.Holding = register.Holding{Session: op.Session, Holders: v.Holders + 1, Delete: o.sessions[op.Session].Delete}
	}
	return w
}

// depend notes that a session must live at the commit.
func (tx *Tx) depend(session string) {
	if !slices.Contains(tx.sessions, session) {
		tx.sessions = append(tx.sessions, session)
	}
}

// validateSessions checks the sessions again that the transaction depends on, and
// all that hold what it read: one that lives now lived all the time. (And a lock
// delay that is running was.)
func (tx *Tx) validateSessions(r Registers) error {
	if !holds(ruleSessionAtCommit) {
		return nil
	}
	all := slices.Clone(tx.sessions)
	for _, v := range tx.reads {
		all = append(all, v.Holder())
	}
	for i := range tx.ranges {
		for _, before := range tx.ranges[i].keys {
			all = append(all, before.holder)
		}
	}
	slices.Sort(all) // maps have no order
	ended, err := tx.c.Ended(r, all)
	if err != nil {
		return err
	}
	if len(ended) > 0 {
		return conflict("", "a session that the transaction depends on has ended; try again")
	}
	for _, id := range tx.delays {
		s, err := tx.c.session(r, id)
		if err != nil {
			return err
		}
		if !s.Delays() {
			return conflict("", "a lock delay was over before the transaction was; try again")
		}
	}
	return nil
}

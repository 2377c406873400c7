package txn

import (
	"slices"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// checkHolder returns why an operation that concerns the lock on a key fails, or 0.
func (o *oneShot) checkHolder(op *Op, v *register.Value) (Fault, error) {
	if op.Verb != Lock && !v.Live {
		return FaultMissing, nil
	}
	holder := v.Session
	if holder != "" && holder != op.Session {
		alive, err := o.tx.asked.Alive(holder)
		if err != nil {
			return 0, unavailable(op.Key, err)
		}
		if !alive {
			holder = ""
		}
	}
	if op.Session == "" { // of CheckSession
		if holder != "" {
			return FaultNotHeld, nil
		}
		return 0, nil
	}
	alive, err := o.tx.asked.Alive(op.Session)
	if err != nil {
		return 0, unavailable(op.Key, err)
	}
	if !alive {
		if op.Verb == Lock {
			return FaultSession, nil
		}
		return FaultNotHeld, nil
	}
	if !slices.Contains(o.tx.sessions, op.Session) {
		o.tx.sessions = append(o.tx.sessions, op.Session) // still at the commit
	}
	switch {
	case holder == op.Session:
		return 0, nil
	case op.Verb != Lock:
		return FaultNotHeld, nil
	case holder != "":
		return FaultLocked, nil
	}
	free, err := o.tx.asked.Free(op.Key, v.Session)
	if err != nil {
		return 0, unavailable(op.Key, err)
	}
	if !free {
		return FaultLocked, nil
	}
	return 0, nil
}

// holding is what Lock and Unlock write on top of v, once checked.
func (op *Op) holding(v *register.Value) register.Change {
	w := op.change()
	w.Take = true
	switch {
	case op.Verb == Unlock:
		w.Holding = register.Holding{Holders: v.Holders}
	case v.Session == op.Session:
		w.Holding = v.Holding
	default:
		w.Holding = register.Holding{Session: op.Session, Holders: v.Holders + 1}
	}
	return w
}

package txn

import "slices"

// locking runs an operation that concerns the lock on a key.
func (o *oneShot) locking(i int, op *Op, cell Cell) (Fault, error) {
	alive, err := o.tx.asked.Alive(op.Session)
	if err != nil {
		return 0, unavailable(op.Key, err)
	}
	if !alive {
		return FaultSession, nil
	}
	if !slices.Contains(o.tx.sessions, op.Session) {
		o.tx.sessions = append(o.tx.sessions, op.Session) // still at the commit
	}
	held := cell.Live && cell.Session == op.Session
	w := Write{Content: Content{Live: true, Data: slices.Clone(op.Data), Flags: op.Flags, LockIndex: cell.LockIndex}}
	switch {
	case op.Verb == Lock && held:
		w.Session = op.Session
	case op.Verb == Lock:
		free, err := o.tx.asked.Free(op.Key, cell.Session)
		if err != nil {
			return 0, unavailable(op.Key, err)
		}
		if !free {
			return FaultLocked, nil
		}
		w.Session = op.Session
		w.LockIndex++
	case !held:
		return FaultNotHeld, nil
	case op.Verb == CheckSession:
		return 0, nil
	}
	return 0, o.store(i, op, w)
}

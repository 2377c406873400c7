package txn

import "time"

// Read returns what hosts see at a key, at one moment of the call. It does not
// wait for a pending transaction for longer than a moment.
func (c *Coordinator) Read(r Registers, key string) (Cell, error) {
	return c.read(r, key, ID{}, false)
}

// read is Read for the transaction me, if any, whose own intents it overlooks.
// With wait it gives any pending transaction a moment to end; else only one that
// it would have to nudge.
func (c *Coordinator) read(r Registers, key string, me ID, wait bool) (Cell, error) {
	cell, err := r.Read(key)
	if err != nil {
		return Cell{}, unavailable(key, err)
	}
	var waited, pause time.Duration
	for range maxLooks {
		if cell.Intent == nil || cell.Intent.Txn == me {
			return cell.Old(), nil
		}
		by := cell.Intent.Txn
		patient := waited < c.cfg.Moment
		st, err := r.Status(by, false)
		if err == nil && st.State == Pending && st.Validates && !patient {
			st, err = c.nudged(r, by)
		}
		if err != nil {
			return Cell{}, unavailable(key, err)
		}
		switch st.State {
		case Committed:
			// The value is right whether or not this is carried out.
			_ = r.Resolve(key, by, true)
			return cell.Applied(), nil
		case Aborted:
			_ = r.Resolve(key, by, false)
			return cell.Old(), nil
		case Pending:
			if !patient || !wait && !st.Validates {
				return cell.Old(), nil // right when the status was read
			}
			pause = c.pause(pause)
			if err := r.Sleep(pause); err != nil {
				return Cell{}, unavailable(key, err)
			}
			waited += pause
		}
		// The transaction may be over, applied and forgotten.
		if !holds(ruleAbsentAgain) && st.State == Absent {
			_ = r.Resolve(key, by, false)
			return cell.Old(), nil
		}
		again, err := r.Read(key)
		if err != nil {
			return Cell{}, unavailable(key, err)
		}
		if st.State == Absent && again.Intent != nil && again.Intent.Txn == by {
			_ = r.Resolve(key, by, false) // an orphan
			return again.Old(), nil
		}
		cell = again
	}
	return Cell{}, conflict(key, "transactions kept ending while the key was read; try again")
}

// nudged reads a status and tells a pending transaction that its old values are
// being read.
func (c *Coordinator) nudged(r Registers, id ID) (Status, error) {
	return r.Status(id, holds(ruleNudge))
}

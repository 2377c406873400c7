package txn

import (
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Read returns what hosts see at a key, at one moment of the call. It does not
// wait for a pending transaction for longer than a moment.
func (c *Coordinator) Read(r Registers, key string) (register.Value, error) {
	return c.read(r, key, false)
}

// read is Read; with wait it gives any pending transaction a moment to end, else
// only one that it would have to nudge.
func (c *Coordinator) read(r Registers, key string, wait bool) (register.Value, error) {
	cell, err := r.Read(key)
	if err != nil {
		return register.Value{}, unavailable(key, err)
	}
	var waited, pause time.Duration
	for range maxLooks {
		if cell.Intent == nil {
			return now(&cell), nil
		}
		by := cell.Intent.Txn
		patient := waited < c.cfg.Moment
		st, err := status(r, by, false)
		if err == nil && st.State == register.Pending && st.Validates && !patient {
			st, err = c.nudged(r, by)
		}
		if err != nil {
			return register.Value{}, unavailable(key, err)
		}
		switch st.State {
		case register.Committed:
			// The value is right whether or not this is carried out.
			_ = resolve(r, key, register.Ended{Txn: by, Committed: true})
			cell = cell.Applied()
			return now(&cell), nil
		case register.Aborted:
			_ = resolve(r, key, register.Ended{Txn: by})
			return now(&cell), nil
		case register.Pending:
			if !patient || !wait && !st.Validates {
				return now(&cell), nil // right when the status was read
			}
			pause = c.pause(pause)
			if err := r.Sleep(pause); err != nil {
				return register.Value{}, unavailable(key, err)
			}
			waited += pause
		}
		// The transaction may be over, applied and forgotten.
		if !holds(ruleAbsentAgain) && st.State == register.Absent {
			_ = resolve(r, key, register.Ended{Txn: by})
			return now(&cell), nil
		}
		again, err := r.Read(key)
		if err != nil {
			return register.Value{}, unavailable(key, err)
		}
		if st.State == register.Absent && again.Intent != nil && again.Intent.Txn == by {
			_ = resolve(r, key, register.Ended{Txn: by}) // an orphan
			return now(&again), nil
		}
		cell = again
	}
	return register.Value{}, conflict(key, "transactions kept ending while the key was read; try again")
}

// nudged reads a status and tells a pending transaction that its old values are
// being read.
func (c *Coordinator) nudged(r Registers, id ID) (register.Status, error) {
	return status(r, id, holds(ruleNudge))
}

// now returns what hosts see of a value, without an intent and the past.
func now(v *register.Value) register.Value {
	head := v.Head()
	head.Data = v.Data
	return head
}

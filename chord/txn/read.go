package txn

import (
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Read returns what hosts see at a key, at one moment of the call. It does not
// wait for a pending transaction for longer than some moments; see Config.Moment.
func (c *Coordinator) Read(r Registers, key string) (register.Value, error) {
	return c.read(r, key, false)
}

func (c *Coordinator) read(r Registers, key string, wait bool) (register.Value, error) {
	cell, err := r.Read(key)
	if err != nil {
		return register.Value{}, unavailable(key, err)
	}
	return c.shown(r, key, cell, wait)
}

// Shown is Read for who has just read the key's register.
func (c *Coordinator) Shown(r Registers, key string, cell register.Value) (register.Value, error) {
	return c.shown(r, key, cell, false)
}

// shown returns what hosts see of a value that was read, or of what is there when
// that is over. A holder that lives now lived when the value was there; from one
// that has ended the key is released first, so that everybody sees its end at once.
func (c *Coordinator) shown(r Registers, key string, cell register.Value, wait bool) (register.Value, error) {
	for range maxLooks {
		v, err := c.settled(r, key, cell, wait)
		if err != nil || v.Holder() == "" || !holds(ruleHolderLives) {
			return v, err
		}
		alive, err := c.Alive(r, v.Holder())
		if err == nil && !alive {
			err = c.Release(r, key, v.Holder())
		}
		if err != nil || alive {
			return v, err
		}
		if cell, err = r.Read(key); err != nil {
			return register.Value{}, unavailable(key, err)
		}
	}
	return register.Value{}, conflict(key, "its holders kept ending while the key was read; try again")
}

// settled returns what hosts see of a value but for the end of its holder; with
// wait it gives any pending transaction a moment to end, else only one that it
// would have to nudge.
func (c *Coordinator) settled(r Registers, key string, cell register.Value, wait bool) (register.Value, error) {
	var waited, pause time.Duration
	for range maxLooks {
		if cell.Intent == nil {
			return now(&cell), nil
		}
		by := cell.Intent.Txn
		patient := waited < c.cfg.Moment
		st, err := status(r, by)
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
// being read, if that matters to it. One that was told before and is young gets some
// moments to commit first, so that readers do not keep it from that.
func (c *Coordinator) nudged(r Registers, id ID) (register.Status, error) {
	var waited, pause time.Duration
	for {
		st, err := status(r, id)
		if err != nil || st.State != register.Pending || !st.Validates || !holds(ruleNudge) {
			return st, err
		}
		stuck := c.known(id, r.Now()) >= stuckMoments*c.cfg.Moment // its coordinator may be gone
		if st.Nudges < fewNudges || stuck || waited >= c.cfg.Moment<<min(st.Nudges-fewNudges+1, 3) {
			return decide(r, id, register.Change{Kind: register.Nudge})
		}
		pause = c.pause(pause)
		if err := r.Sleep(pause); err != nil {
			return st, err
		}
		waited += pause
	}
}

// now returns what hosts see of a value, without an intent and the past.
func now(v *register.Value) register.Value {
	head := v.Head()
	head.Data = v.Data
	return head
}

package txn

import (
	"errors"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// settle finds out whether the intent of by may be taken away, for a writer me. A
// pending transaction is left alone, and false returned, unless me is the older
// one, as the zero ID is (and by was let be for a moment, or urgent) or by is known for longer than
// the timeout: then it is aborted.
func (c *Coordinator) settle(r Registers, by, me ID, urgent bool) (register.Ended, bool, error) {
	st, err := status(r, by)
	if err != nil {
		return register.Ended{}, false, err
	}
	if st.State == register.Pending {
		known := c.known(by, r.Now())
		wins := me.Older(by) && (urgent || known >= c.cfg.Moment)
		if !wins && known < c.cfg.Timeout {
			return register.Ended{}, false, nil
		}
		st, err = abort(r, by, me)
		switch {
		case errors.Is(err, ErrUnknown):
			return register.Ended{}, false, nil // others ended it, too, or forgot it; look again
		case err != nil:
			return register.Ended{}, false, err
		}
	}
	// Absent is over: an intent that still stands is an orphan, left by a call that
	// came late.
	return register.Ended{Txn: by, Committed: st.State == register.Committed}, true, nil
}

// await waits until the transaction in the way is decided, and whoever was in that
// one's way, for a transaction that gave way and holds nothing.
func (c *Coordinator) await(r Registers, by, me ID) error {
	for pause := c.cfg.Pause; ; pause = c.pause(pause) {
		st, err := status(r, by)
		if err != nil {
			return err
		}
		if st.State == register.Aborted && !st.By.IsZero() && st.By.Older(by) && st.By.Older(me) {
			by = st.By
			continue
		}
		if st.State != register.Pending {
			return nil
		}
		if known := c.known(by, r.Now()); known >= c.cfg.Timeout || known >= c.cfg.Moment && me.Older(by) {
			if _, err := abort(r, by, me); !errors.Is(err, ErrUnknown) {
				return err
			}
		}
		if err := r.Sleep(pause); err != nil {
			return err
		}
	}
}

// Change is a Put, a Delete, a Pop or a Release of one key by itself. Done and
// Refused are the outcomes; with a fence Fenced and Oversized, too. It waits for a transaction that is in the way, or ends
// it; a Release only for a moment.
func (c *Coordinator) Change(r Registers, key string, ch register.Change) (register.Result, error) {
	var me ID
	for pause := c.cfg.Pause; ; {
		res, err := r.Change(key, ch)
		if err != nil || res.Outcome != register.Held {
			return res, err
		}
		in := res.Value.Intent
		if in == nil {
			// What goes wrong from here on, the change itself has not happened.
			if ch.Alive, err = c.assert(r, key, res.Value.Session); err != nil {
				return res, unavailable(key, err)
			}
			continue
		}
		if me.IsZero() && ch.Kind != register.Release {
			if me.Start, err = r.NewID(); err != nil {
				return res, unavailable(key, err)
			}
		}
		over, settled, err := c.settle(r, in.Txn, me, false)
		if err == nil && !settled {
			pause, err = c.pause(pause), r.Sleep(pause)
		}
		if err != nil {
			return res, unavailable(key, err)
		}
		ch.Over = over
	}
}

// finish brings a transaction to its end: it is aborted if it is still pending,
// then its intents are applied or removed, and once all are, its status is
// forgotten.
func (c *Coordinator) finish(r Registers, id ID, keys []string) (register.Status, error) {
	st, err := abort(r, id, ID{})
	if err != nil {
		return st, err
	}
	return st, c.clear(r, id, keys, st.State == register.Committed)
}

// clear applies or removes the intents of a transaction that is decided, and
// forgets its status: last, and only when none can be left. (One that is placed
// later, by a call that came late, is an orphan and must be of a transaction that
// aborted.)
func (c *Coordinator) clear(r Registers, id ID, keys []string, commit bool) error {
	if !holds(ruleForgetLast) {
		if err := forget(r, id); err != nil {
			return err
		}
	}
	err := r.Each(len(keys), func(i int) error {
		var err error
		for range maxResolves {
			if err = resolve(r, keys[i], register.Ended{Txn: id, Committed: commit}); err == nil {
				break
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return forget(r, id)
}

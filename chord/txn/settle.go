package txn

import "github.com/chord-plugin/chord-plugin/chord/register"

// settle finds out whether the intent of by may be taken away, for a writer me. A
// pending transaction is left alone, and false returned, unless me is the older
// one (and by was let be for a moment, or urgent) or by is known for longer than
// the timeout: then it is aborted.
func (c *Coordinator) settle(r Registers, by, me ID, urgent bool) (register.Ended, bool, error) {
	st, err := status(r, by, false)
	if err != nil {
		return register.Ended{}, false, err
	}
	if st.State == register.Pending {
		known := c.known(by, r.Now())
		wins := me.Older(by) && (urgent || known >= c.cfg.Moment)
		if !wins && known < c.cfg.Timeout {
			return register.Ended{}, false, nil
		}
		if st, err = abort(r, by, me); err != nil {
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
		st, err := status(r, by, false)
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
			_, err := abort(r, by, me)
			return err
		}
		if err := r.Sleep(pause); err != nil {
			return err
		}
	}
}

// Unblocked runs a change of one key that intents may be in the way of: try
// reports in whose way it came, and is called again with that one once it has
// ended. It ends with the first error of try or of the registers.
func (c *Coordinator) Unblocked(r Registers, key string, try func(over register.Ended) (by ID, held bool, err error)) error {
	var me ID
	var over register.Ended
	for pause := c.cfg.Pause; ; pause = c.pause(pause) {
		by, held, err := try(over)
		if err != nil || !held {
			return err
		}
		if me.IsZero() {
			start, err := r.NewID()
			if err != nil {
				return unavailable(key, err)
			}
			me = ID{Start: start}
		}
		settled := false
		if over, settled, err = c.settle(r, by, me, false); err != nil {
			return unavailable(key, err) // try did nothing
		}
		if settled {
			continue
		}
		if err := r.Sleep(pause); err != nil {
			return unavailable(key, err)
		}
	}
}

// Change is a Put, a Delete or a Pop of one key by itself. Done and Refused are
// the outcomes; with a fence Fenced and Oversized, too.
func (c *Coordinator) Change(r Registers, key string, ch register.Change) (register.Result, error) {
	var res register.Result
	err := c.Unblocked(r, key, func(over register.Ended) (by ID, held bool, err error) {
		ch.Over = over
		if res, err = r.Change(key, ch); err == nil && res.Outcome == register.Held {
			return res.Value.Intent.Txn, true, nil
		}
		return ID{}, false, err
	})
	return res, err
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

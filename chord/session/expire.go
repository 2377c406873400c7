package session

import (
	"fmt"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// Expire ends what is due, unless it has changed since it was seen: a key is
// deleted; a session that lives ends, and its keys are swept; the register of a
// session that has ended is forgotten, once its keys were swept, whoever did that
// before. After an error it is due again.
func Expire(c *txn.Coordinator, r txn.Registers, d Due, named Named) error {
	onlyIf := holds(ruleOnlyIf)
	id, ok := register.ParseSessionKey(d.Key)
	if !ok {
		if _, err := c.Change(r, d.Key, register.Change{Kind: register.Delete, If: onlyIf, Index: d.Index}); err != nil {
			return fmt.Errorf("expire key %q: %w", d.Key, err)
		}
		return nil
	}
	res, err := r.Change(d.Key, register.Change{Kind: register.End, If: onlyIf, Index: d.Index})
	if err != nil {
		return fmt.Errorf("expire session %q: %w", id, err)
	}
	s, err := register.SessionOf(&res.Value)
	if err != nil || res.Outcome != register.Done || s.State != register.SessionEnded {
		return err // another owner was faster, or its holder, or a newer build made it
	}
	if res.Index == d.Index && !holds(ruleSweepFirst) {
		return forget(r, id, d)
	}
	if err := Sweep(c, r, id, named); err != nil || res.Index != d.Index {
		return err
	}
	return forget(r, id, d)
}

// forget deletes the register of a session whose lock delay is over.
func forget(r txn.Registers, id string, d Due) error {
	if _, err := r.Change(d.Key, register.Change{Kind: register.Delete, If: true, Index: d.Index}); err != nil {
		return fmt.Errorf("forget session %q: %w", id, err)
	}
	return nil
}

package txn

import (
	"maps"
	"slices"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// validate checks that what the transaction read, and does not write, still is as
// it was, and that nobody is about to change it. It begins after the nudges were
// counted, and all that was read was read before: so at that moment all of it
// held.
func (k *commit) validate(r Registers) error {
	var keys []string
	for key := range k.tx.reads {
		if _, ok := k.tx.writes[key]; !ok {
			keys = append(keys, key)
		}
	}
	for key := range k.tx.writes {
		// What a tombstone says of the last holder has no index.
		if v, ok := k.tx.reads[key]; ok && !v.Live && k.tx.writes[key].Holding.Session != "" && holds(ruleLockTombstone) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if !holds(ruleValidate) {
		keys = nil
	}
	err := r.Each(len(keys), func(i int) error { return k.validateKey(r, keys[i]) })
	if err != nil {
		return err
	}
	if holds(ruleListCheck) {
		for i := range k.tx.ranges {
			if err := k.validateRange(r, &k.tx.ranges[i]); err != nil {
				return err
			}
		}
	}
	return k.tx.validateSessions(r)
}

func (k *commit) validateKey(r Registers, key string) error {
	for range maxLooks {
		cell, err := r.Read(key)
		if err != nil {
			return unavailable(key, err)
		}
		if !k.couldBe(&cell, k.sight(key)) {
			return conflict(key, "the key changed since the transaction read it; try again")
		}
		if again, err := k.giveWay(r, key, cell.Intent); err != nil || !again {
			return err
		}
	}
	return conflict(key, "transactions kept ending while the key was read; try again")
}

// couldBe reports whether hosts see a cell as it was read before, or would once
// the intent of another, which is to be settled now, is applied.
func (k *commit) couldBe(v *register.Value, read seen) bool {
	if read.still(v) || v.Intent == nil || v.Intent.Txn == k.id {
		return read.still(v)
	}
	applied := v.Applied()
	return read.still(&applied)
}

func (k *commit) sight(key string) seen {
	v := k.tx.reads[key]
	return sight(&v)
}

// giveWay settles an intent of another at a key that was read: the younger of
// the two aborts. It reports whether there was one, and the key must be looked at
// again.
func (k *commit) giveWay(r Registers, key string, in *register.Intent) (again bool, err error) {
	if in == nil || in.Txn == k.id || !holds(ruleOthersIntents) {
		return false, nil
	}
	over, settled, err := k.c.settle(r, in.Txn, k.id, true)
	if err != nil {
		return false, unavailable(key, err)
	}
	if !settled {
		return false, blocked(key, in.Txn)
	}
	if err := resolve(r, key, over); err != nil {
		return false, unavailable(key, err)
	}
	return true, nil
}

func (k *commit) validateRange(r Registers, read *rangeRead) error {
	for range maxLooks {
		pic, err := r.Scan(read.q)
		if err != nil {
			return unavailable(read.q.Prefix, err)
		}
		if err := read.compare(&pic, k.couldBe); err != nil {
			return err
		}
		again := false
		for i := range pic.Keys {
			settled, err := k.giveWay(r, pic.Keys[i].Key, pic.Keys[i].Intent)
			if err != nil {
				return err
			}
			again = again || settled
		}
		if !again {
			return nil
		}
	}
	return conflict(read.q.Prefix, "transactions kept ending while the keys under this prefix were read; try again")
}

// compare returns a conflict unless each key of a range, and each that is not
// there, is as it was. That need not be so at one moment: all of it held between
// the two times it was looked at.
func (read *rangeRead) compare(pic *Picture, same func(v *register.Value, before seen) bool) error {
	missing := maps.Clone(read.keys)
	for i := range pic.Keys {
		kc := &pic.Keys[i]
		if !same(&kc.Value, read.keys[kc.Key]) {
			return conflict(kc.Key, "the key changed since the transaction listed it; try again")
		}
		delete(missing, kc.Key)
	}
	for key, before := range missing {
		if before.live {
			return conflict(key, "the key was deleted since the transaction listed it; try again")
		}
	}
	return nil
}

// confirm is the validation of a transaction that wrote nothing. It stands in
// nobody's way: a pending transaction is nudged, and its old values are right.
func (tx *Tx) confirm(r Registers) error {
	if len(tx.reads)+len(tx.ranges) <= 1 && !tx.asked {
		return nil // of one moment by itself
	}
	keys := slices.Sorted(maps.Keys(tx.reads))
	if !holds(ruleValidate) {
		keys = nil
	}
	err := r.Each(len(keys), func(i int) error {
		cell, err := r.Read(keys[i])
		if err != nil {
			return unavailable(keys[i], err)
		}
		cell, err = tx.c.settled(r, keys[i], cell, false)
		before := tx.reads[keys[i]]
		if err == nil && !sight(&before).still(&cell) {
			err = conflict(keys[i], "the key changed since the transaction read it; try again")
		}
		return err
	})
	if err != nil {
		return err
	}
	if holds(ruleListCheck) {
		for i := range tx.ranges {
			if err := tx.confirmRange(r, &tx.ranges[i]); err != nil {
				return err
			}
		}
	}
	return tx.validateSessions(r)
}

func (tx *Tx) confirmRange(r Registers, read *rangeRead) error {
	for range maxLooks {
		pic, err := r.Scan(read.q)
		if err != nil {
			return unavailable(read.q.Prefix, err)
		}
		_, settled, err := tx.c.reveal(r, &pic)
		if err != nil {
			return unavailable(read.q.Prefix, err)
		}
		if settled {
			return read.compare(&pic, func(v *register.Value, before seen) bool { return before.still(v) })
		}
	}
	return conflict(read.q.Prefix, "transactions kept ending while the keys under this prefix were read; try again")
}

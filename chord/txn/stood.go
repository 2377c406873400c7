package txn

import "github.com/chord-plugin/chord-plugin/chord/register"

// A list is of one moment m, at which it knows who of the transactions was pending
// whose intents it saw. What it finds changed after that spoils it only if hosts could
// see the change by m. Many changes that transactions make they can not:
//
//   - A key with the intent of a transaction that was pending at m held that intent at
//     m: who takes it away decides the transaction first.
//   - To place an intent, and to apply or remove it, changes nothing that hosts see
//     until the transaction commits. One that is pending after m was not committed at m.
//
// No two changes have the same stamp. So a key that shows the same before m and after
// it showed that at m.

// Move is a key that may have changed since it was looked at.
type Move struct {
	Key string
	// Before is what was seen before m, with its intent; the zero value for nothing.
	Before register.Value
	// After is what was seen after m, if Known.
	After register.Value
	Known bool
}

// Stood reports of each key whether hosts saw Before there at m, the moment at which
// the transactions had those states. Where names is set it is enough that the key was
// there, or was not. Of what a transaction that is pending now is about to write, hosts
// see the old value, and the transaction is told.
func (c *Coordinator) Stood(r Registers, names bool, states map[ID]register.State, moves []Move) ([]bool, error) {
	stood := make([]bool, len(moves))
	asked := map[ID][]int{} // what stands if the transaction is pending
	var ask []ID
	for i := range moves {
		m := &moves[i]
		before, ok := ShownAt(&m.Before, states)
		if in := m.Before.Intent; ok && in != nil && (states[in.Txn] == register.Pending || !holds(ruleMovedFrozen)) {
			stood[i] = true
			continue
		}
		if !ok || !m.Known {
			continue
		}
		same := alike
		if names {
			same = alikeByName
		}
		if after, ok := ShownAt(&m.After, states); ok {
			stood[i] = same(&before, &after)
			continue
		}
		old, applied := m.After.Old(), m.After.Applied()
		if !same(&before, &old) {
			continue
		}
		if same(&before, &applied) {
			stood[i] = true
			continue
		}
		id := m.After.Intent.Txn
		if asked[id] == nil {
			ask = append(ask, id)
		}
		asked[id] = append(asked[id], i)
	}
	err := r.Each(len(ask), func(n int) error {
		st, err := c.nudged(r, ask[n])
		if err != nil {
			return unavailable("", err)
		}
		for _, i := range asked[ask[n]] {
			stood[i] = st.State == register.Pending || !holds(ruleMovedPending)
		}
		return nil
	})
	return stood, err
}

// ShownAt returns what hosts saw of a value when the transactions had those states,
// unless that of its intent is not known.
func ShownAt(v *register.Value, states map[ID]register.State) (register.Value, bool) {
	if v.Intent == nil {
		return *v, true
	}
	switch states[v.Intent.Txn] {
	case register.Committed:
		return v.Applied(), true
	case register.Pending, register.Aborted:
		return v.Old(), true
	}
	return register.Value{}, false
}

// alike reports whether nothing happened to a key between two looks at it.
func alike(before, after *register.Value) bool { return sight(before).still(after) }

// alikeByName reports whether a key was there at both times and all the time between,
// or nothing happened to it. A holder that it has got since may have ended since, and
// the key with it, though nothing there says so yet.
func alikeByName(before, after *register.Value) bool {
	kept := before.Live && after.Live && before.Create == after.Create && before.Holder() == after.Holder()
	return kept || alike(before, after)
}

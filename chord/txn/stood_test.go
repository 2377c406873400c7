package txn

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// statuses are registers that hold nothing but the statuses of transactions.
type statuses struct {
	Registers
	states map[string]register.State
	read   []string
}

func (s *statuses) Read(key string) (register.Value, error) {
	s.read = append(s.read, key)
	return register.Value{Live: true, Data: register.AppendStatus(nil, &register.Status{State: s.states[key]})}, nil
}

func (s *statuses) Each(n int, do func(i int) error) error {
	for i := range n {
		if err := do(i); err != nil {
			return err
		}
	}
	return nil
}

// TestStood goes through what can have become of a key between two looks at it.
func TestStood(t *testing.T) {
	at := func(create, stamp uint64) register.Value {
		return register.Value{Live: true, Create: create, Hidden: true, Shown: stamp}
	}
	gone := func(stamp uint64) register.Value { return register.Value{Hidden: true, Shown: stamp} }
	id := func(n uint64) ID { return ID{Start: register.Ballot{Time: n, Node: 1}} }
	with := func(v register.Value, txn ID, stamp uint64, live bool) register.Value {
		v.Intent = &register.Intent{Txn: txn, Stamp: stamp, New: register.Content{Live: live}}
		return v
	}
	held := func(v register.Value, session string) register.Value {
		v.Holding.Session = session
		return v
	}
	pending, committed, aborted, unknown, ending := id(1), id(2), id(3), id(4), id(5)
	known := map[ID]register.State{pending: register.Pending, committed: register.Committed, aborted: register.Aborted}
	for name, c := range map[string]struct {
		before, after   register.Value
		inDoubt         bool // after is not known
		entries, byName bool // it stood, for who lists entries or names only
		asked           ID   // whose status is read
		askedByName     ID   // if it is another for names
	}{
		"nothing happened":                       {before: at(1, 5), after: at(1, 5), entries: true, byName: true},
		"written":                                {before: at(1, 5), after: at(1, 6), byName: true},
		"written by its holder":                  {before: held(at(1, 5), "s"), after: held(at(1, 6), "s"), byName: true},
		"locked":                                 {before: at(1, 5), after: held(at(1, 6), "s")}, // and s may have ended by m
		"locked by another":                      {before: held(at(1, 5), "s"), after: held(at(1, 6), "z")},
		"made":                                   {after: at(6, 6)},
		"deleted":                                {before: at(1, 5), after: gone(6)},
		"deleted and made anew":                  {before: at(1, 5), after: at(7, 7)},
		"made and deleted":                       {before: gone(3), after: gone(6)},
		"its tombstone forgotten":                {before: gone(3), entries: true, byName: true},
		"not known":                              {before: at(1, 5), after: at(1, 5), inDoubt: true},
		"of one pending, applied since":          {before: with(at(1, 5), pending, 6, true), after: at(1, 6), entries: true, byName: true},
		"of one pending, not known":              {before: with(at(1, 5), pending, 6, true), inDoubt: true, entries: true, byName: true},
		"of one pending, made and deleted since": {before: with(register.Value{}, pending, 6, true), after: gone(9), entries: true, byName: true},
		"of one committed, applied":              {before: with(at(1, 5), committed, 6, true), after: at(1, 6), entries: true, byName: true},
		"of one committed, and written since":    {before: with(at(1, 5), committed, 6, true), after: at(1, 7), byName: true},
		"of one committed that deletes":          {before: with(at(1, 5), committed, 6, false), after: gone(6), entries: true, byName: true},
		"of one aborted, removed":                {before: with(at(1, 5), aborted, 6, true), after: at(1, 5), entries: true, byName: true},
		"of one that nobody knows":               {before: with(at(1, 5), unknown, 6, true), after: at(1, 5)},
		"placed by one that was pending":         {before: at(1, 5), after: with(at(1, 5), pending, 6, true), entries: true, byName: true},
		"placed by one that had committed":       {before: at(1, 5), after: with(at(1, 5), committed, 6, false)},
		"placed by one that is pending":          {before: at(1, 5), after: with(at(1, 5), unknown, 6, false), entries: true, byName: true, asked: unknown},
		"made by one that is pending":            {after: with(register.Value{}, unknown, 6, true), entries: true, byName: true, asked: unknown},
		"placed by one that has committed":       {before: at(1, 5), after: with(at(1, 5), ending, 6, false), asked: ending},
		"written, then placed":                   {before: at(1, 5), after: with(at(1, 6), unknown, 7, false), byName: true, askedByName: unknown},
	} {
		for _, names := range []bool{false, true} {
			r := &statuses{states: map[string]register.State{unknown.Key(): register.Pending, ending.Key(): register.Committed}}
			stood, err := (&Coordinator{}).Stood(r, names, known, []Move{{Key: "k", Before: c.before, After: c.after, Known: !c.inDoubt}})
			require.NoError(t, err)
			want, asked := c.entries, c.asked
			if names {
				want = c.byName
			}
			if names && !c.askedByName.IsZero() {
				asked = c.askedByName
			}
			require.Equal(t, []bool{want}, stood, "%s (names %v)", name, names)
			if !asked.IsZero() {
				require.Equal(t, []string{asked.Key()}, r.read, name)
			} else {
				require.Empty(t, r.read, name)
			}
		}
	}
}

package txn

import (
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Snapshot is what hosts see in a range at one moment.
type Snapshot struct {
	// Keys are sorted and have no intents. Tombstones are among them.
	Keys []KeyValue
	// More says that the range goes on after UpTo.
	More bool
	UpTo string
}

// Snapshot returns a range as it was at one moment of the call. A range that is
// never at rest ends with a conflict.
func (c *Coordinator) Snapshot(r Registers, q Range) (Snapshot, error) {
	var pause time.Duration
	for range maxListTries {
		pic, err := r.Scan(q)
		if err != nil {
			return Snapshot{}, unavailable(q.Prefix, err)
		}
		seen := intents(&pic)
		same := true
		if !holds(ruleStatusBefore) {
			if same, err = c.stood(r, &pic, seen, nil); err != nil {
				return Snapshot{}, unavailable(q.Prefix, err)
			}
		}
		states, settled, err := c.reveal(r, &pic)
		if err != nil {
			return Snapshot{}, unavailable(q.Prefix, err)
		}
		if settled && holds(ruleStatusBefore) && holds(ruleSecondPass) {
			if same, err = c.stood(r, &pic, seen, states); err != nil {
				return Snapshot{}, unavailable(q.Prefix, err)
			}
		}
		if settled && same {
			return Snapshot{pic.Keys, pic.More, pic.UpTo}, nil
		}
		pause = c.pause(pause)
		if err := r.Sleep(pause); err != nil {
			return Snapshot{}, unavailable(q.Prefix, err)
		}
	}
	return Snapshot{}, conflict(q.Prefix, "the keys under this prefix kept changing while they were listed; try again, or list a smaller part")
}

// intents returns what a picture has at the keys with intents, before reveal.
func intents(pic *Picture) map[string]register.Value {
	seen := map[string]register.Value{}
	for i := range pic.Keys {
		if kv := &pic.Keys[i]; kv.Intent != nil {
			seen[kv.Key] = kv.Value
		}
	}
	return seen
}

// stood reports whether what the picture shows held at the moment at which the
// transactions had those states, whatever has changed since it was taken.
func (c *Coordinator) stood(r Registers, pic *Picture, seen map[string]register.Value, states map[ID]register.State) (bool, error) {
	moves, ok, err := pic.Moved()
	if err != nil || !ok {
		return false, err
	}
	for i := range moves {
		m := &moves[i]
		if v, had := seen[m.Key]; had {
			m.Before = v
		} else if at, there := pic.find(m.Key); there {
			m.Before = pic.Keys[at].Value
		}
	}
	stood, err := c.Stood(r, false, states, moves)
	return !slices.Contains(stood, false), err
}

// find returns where a key is in the picture.
func (pic *Picture) find(key string) (int, bool) {
	return slices.BinarySearchFunc(pic.Keys, key, func(kv KeyValue, key string) int { return strings.Compare(kv.Key, key) })
}

// reveal replaces the cells that have intents by what hosts see there, and returns the
// states of their transactions; false if a transaction or a holder ended meanwhile and
// the range must be scanned anew.
func (c *Coordinator) reveal(r Registers, pic *Picture) (map[ID]register.State, bool, error) {
	states, settled, err := c.revealIntents(r, pic)
	if err != nil || !settled || !holds(ruleListHolders) {
		return states, settled, err
	}
	// From here on: a holder that lives later lived at the moment of the picture.
	holders := make([]string, len(pic.Keys))
	for i := range pic.Keys {
		holders[i] = pic.Keys[i].Holder()
	}
	ended, err := c.Ended(r, holders)
	if err != nil || len(ended) == 0 {
		return states, true, err
	}
	var at []int
	for i := range holders {
		if ended[holders[i]] {
			at = append(at, i)
		}
	}
	return states, false, r.Each(len(at), func(i int) error { return c.Release(r, pic.Keys[at[i]].Key, holders[at[i]]) })
}

func (c *Coordinator) revealIntents(r Registers, pic *Picture) (map[ID]register.State, bool, error) {
	var at []int
	var met []ID
	for i := range pic.Keys {
		if in := pic.Keys[i].Intent; in != nil {
			at = append(at, i)
			met = append(met, in.Txn)
		}
	}
	if len(met) == 0 {
		return nil, true, nil
	}
	found, err := c.Decided(r, met)
	if err != nil {
		return nil, false, err
	}
	states, settled := make(map[ID]register.State, len(met)), true
	for i, n := range at {
		cell := &pic.Keys[n]
		states[met[i]] = found[i]
		switch found[i] {
		case register.Committed:
			cell.Value = cell.Applied()
		case register.Absent:
			settled = false
			if _, err := c.Read(r, cell.Key); err != nil { // removes an orphan
				return nil, false, err
			}
		default:
			cell.Value = cell.Old()
		}
	}
	return states, settled, nil
}

// Decided returns the state of each of the transactions (which may be named more
// than once) as they all were at one moment of the call. Those that were pending
// then have been nudged since. Absent stands for one of which that can not be
// said: look at its cells again.
//
// Each status is read once, and where more than one transaction was met those
// that were pending once more: had one of them committed between the reading of
// its own status and of the next, the two would not be of one moment, and what
// happened between could have been seen elsewhere.
func (c *Coordinator) Decided(r Registers, ids []ID) ([]register.State, error) {
	states := make([]register.State, len(ids))
	first := map[ID]int{}
	var ask []int // a place in ids for each transaction
	for i, id := range ids {
		if _, ok := first[id]; ok && holds(ruleStatusOnce) {
			continue
		}
		first[id] = i
		ask = append(ask, i)
	}
	read := func(status func(Registers, ID) (register.Status, error)) error {
		return r.Each(len(ask), func(n int) error {
			st, err := status(r, ids[ask[n]])
			states[ask[n]] = st.State
			if err != nil {
				return unavailable("", err) // a nudge in doubt is no doubt of who only reads
			}
			return nil
		})
	}
	twice := len(first) > 1 && holds(ruleOneMoment)
	if twice {
		if err := read(status); err != nil {
			return nil, err
		}
		ask = slices.DeleteFunc(ask, func(i int) bool { return states[i] != register.Pending })
	}
	if err := read(c.nudged); err != nil {
		return nil, err
	}
	if twice {
		for _, i := range ask {
			if states[i] != register.Pending {
				states[i] = register.Absent
			}
		}
	}
	if holds(ruleStatusOnce) {
		for i, id := range ids {
			states[i] = states[first[id]]
		}
	}
	return states, nil
}

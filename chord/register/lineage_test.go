package register

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLineage plays a key's writes beside a history without bound. What a value
// says of an operation is never wrong, a lineage stays short, and it never says
// "unknown" of one that began after the last write, or in the newest round. Now and
// then all is forgotten.
func TestLineage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var v Value
		var history []Past // oldest first
		clock := uint64(1 << 40)
		tick := func() uint64 {
			clock += 1 + rapid.Uint64Range(0, 3).Draw(t, "tick")
			return clock
		}
		if rapid.Bool().Draw(t, "long pauses") {
			step := tick
			tick = func() uint64 {
				if rapid.IntRange(0, 5).Draw(t, "pause?") == 0 {
					clock += ticks(50 * time.Second)
				}
				return step()
			}
		}
		var waiting []OpID // begun, not applied yet
		var all []OpID
		for range rapid.IntRange(1, 30).Draw(t, "rounds") {
			for range rapid.IntRange(0, 4).Draw(t, "begin") {
				op := OpID{Time: tick(), Node: 1}
				waiting, all = append(waiting, op), append(all, op)
			}
			n := min(rapid.IntRange(0, maxBatch).Draw(t, "batch"), len(waiting))
			first := tick() + 1
			clock = first
			changed := false
			for range n {
				i := rapid.IntRange(0, len(waiting)-1).Draw(t, "which")
				clock++ // the stamps of a round are in a row
				w := Past{Write: Ballot{Time: clock, Node: 2}, Op: waiting[i]}
				waiting = append(waiting[:i], waiting[i+1:]...)
				v = Value{Live: true, Lineage: v.extend(w)}
				history = append(history, w)
				changed = true
			}
			if changed {
				v.trim(first)
			}
			forgets := rapid.IntRange(0, 5).Draw(t, "forgets") == 0
			if forgets {
				v = (&round{forgot: ceiling(clock)}).nothing()
			}
			if len(v.Lineage) > maxEncodedLineage {
				t.Fatalf("a lineage of %d writes", len(v.Lineage))
			}
			written := map[OpID]Ballot{}
			for _, w := range history {
				written[w.Op] = w.Write
			}
			for _, op := range all {
				got, at := v.fateOf(op)
				stamp, happened := written[op]
				switch {
				case got == fateHappened && (!happened || at != stamp), got == fateNever && happened:
					t.Fatalf("fate %d at %v of %v, which was written: %v at %v", got, at, op, happened, stamp)
				case got == fateUnknown && happened && stamp.Time >= first && !forgets:
					t.Fatalf("unknown: %v, written in the newest round", op)
				case got == fateUnknown && v.Write().Time < op.Time:
					t.Fatalf("unknown: %v, begun after the newest write", op)
				}
			}
		}
	})
}

func TestFateOfNothing(t *testing.T) {
	var v Value
	if f, _ := v.fateOf(OpID{5, 1}); f != fateNever {
		t.Errorf("fate %d where nothing was ever written", f)
	}
	v.trim(1)
	if v.Lineage != nil || !v.Write().IsZero() || v.Index() != 0 {
		t.Errorf("%+v", v)
	}
}

package register

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// TestAcceptor holds the bounded table against one without bound: what is
// promised never goes down, never below what was really promised, and the table
// and its order stay bounded.
func TestAcceptor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 4).Draw(t, "size")
		a := newAcceptor(Mark{HighWater: rapid.SampledFrom([]uint64{0, 20}).Draw(t, "mark")}, size)
		accepted, truth, last := map[string]Ballot{}, map[string]Ballot{}, map[string]Ballot{}
		key := func(i int) string { return fmt.Sprint("k", i) }
		draw := func(label string) Ballot {
			return Ballot{rapid.Uint64Range(1, 60).Draw(t, label), ring.Node(rapid.Uint64Range(1, 3).Draw(t, "node"))}
		}
		for range rapid.IntRange(100, 300).Draw(t, "steps") {
			k, b := key(rapid.IntRange(0, 7).Draw(t, "key")), draw("ballot")
			before := a.promised(k, accepted[k])
			if rapid.Bool().Draw(t, "prepare") {
				p, ok := a.prepare(k, b, accepted[k])
				if ok != before.Less(b) || ok && p != b || !ok && p != before {
					t.Fatalf("prepare %v above %v: %v, %v", b, before, p, ok)
				}
				if ok {
					truth[k] = b
				}
			} else {
				var next Ballot
				if rapid.Bool().Draw(t, "next?") {
					next = draw("next")
				}
				p, ok := a.accept(k, b, accepted[k], next)
				if ok == b.Less(before) || ok && p != b || !ok && p != before {
					t.Fatalf("accept %v, promised %v: %v, %v", b, before, p, ok)
				}
				if ok {
					accepted[k] = b
					truth[k] = maxBallot(b, next)
				}
			}
			if len(a.explicit) > size || len(a.order) > 2*size+16 {
				t.Fatalf("%d promises, %d in order", len(a.explicit), len(a.order))
			}
			for i := range 8 {
				k := key(i)
				p := a.promised(k, accepted[k])
				if p.Less(last[k]) || p.Less(truth[k]) || p.Less(a.floor) {
					t.Fatalf("key %s: promised %v, before %v, really %v, floor %v", k, p, last[k], truth[k], a.floor)
				}
				last[k] = p
			}
		}
	})
}

// TestRestartedAcceptor: section 3 of the design, "after a restart the floor is that
// bound".
func TestRestartedAcceptor(t *testing.T) {
	a := newAcceptor(Mark{HighWater: 50}, 4)
	if p, ok := a.prepare("k", Ballot{50, 1<<64 - 1}, Ballot{}); ok || p != ceiling(50) {
		t.Errorf("promised at the mark: %v, %v", p, ok)
	}
	if _, ok := a.accept("k", Ballot{50, 7}, Ballot{}, Ballot{}); ok {
		t.Error("accepted at the mark")
	}
	if _, ok := a.prepare("k", Ballot{51, 0}, Ballot{}); !ok {
		t.Error("refused above the mark")
	}
}

func TestLeases(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 4).Draw(t, "size")
		l := newLeases(size)
		newest := map[string]lease{}
		for n := range rapid.IntRange(1, 200).Draw(t, "steps") {
			k := fmt.Sprint(rapid.IntRange(0, 7).Draw(t, "key"))
			if rapid.Bool().Draw(t, "put") {
				newest[k] = lease{next: Ballot{uint64(n) + 1, 1}}
				l.put(k, newest[k])
			} else {
				got, ok := l.take(k)
				if ok && got != newest[k] {
					t.Fatalf("took %v, put last was %v", got, newest[k])
				}
				if _, again := l.take(k); again {
					t.Fatal("a lease was taken twice")
				}
			}
			if len(l.byKey) > size || len(l.order) > 2*size {
				t.Fatalf("%d leases, %d in order, bound %d", len(l.byKey), len(l.order), size)
			}
		}
		for n := range uint64(4 * size) { // a hot key, used again and again
			l.put("hot", lease{next: Ballot{1<<40 + n, 1}})
			if got, ok := l.take("hot"); !ok || got.next.Time != 1<<40+n {
				t.Fatalf("use %d: the newest lease is not there: %v %v", n, got, ok)
			}
		}
	})
}

package session

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

const step = 3 * time.Second

func first(string) int { return 0 }

// at is a value with a lifetime and an index.
func at(index uint64, lasts time.Duration) *register.Value {
	return &register.Value{Live: true, Hidden: true, Shown: index, Expires: lasts}
}

func due(t *testing.T, l *Lifetimes, now time.Duration, rank func(string) int, want ...Due) {
	t.Helper()
	if diff := cmp.Diff(want, l.Due(now, 10, rank)); diff != "" {
		t.Errorf("at %v: %s", now, diff)
	}
}

// TestLifetimes: the same index for the whole lifetime, and a 64th of it.
func TestLifetimes(t *testing.T) {
	l := NewLifetimes(step, 10)
	l.Saw(time.Second, "k", at(7, 64*time.Second))
	l.Saw(60*time.Second, "k", at(7, 64*time.Second))
	due(t, l, 66*time.Second-1, first)
	due(t, l, 66*time.Second, first, Due{"k", 7})
	due(t, l, 66*time.Second, first) // once a step
	due(t, l, 66*time.Second+step, first, Due{"k", 7})
	// A write in between, and an old state of it that comes late.
	l.Saw(70*time.Second, "k", at(9, 64*time.Second))
	l.Saw(71*time.Second, "k", at(7, 64*time.Second))
	due(t, l, 135*time.Second-1, first)
	due(t, l, 135*time.Second, first, Due{"k", 9})
	// It does not expire any more, and then does again.
	l.Saw(136*time.Second, "k", at(10, 0))
	l.Saw(137*time.Second, "k", at(11, time.Second))
	l.Saw(138*time.Second, "k", &register.Value{})
	if due(t, l, time.Hour, first); l.Len() != 0 {
		t.Errorf("%d are known", l.Len())
	}
}

// TestRanks: each further owner waits a step longer, and who owns a key no more
// forgets it.
func TestRanks(t *testing.T) {
	l := NewLifetimes(step, 10)
	rank := 2
	ranks := func(string) int { return rank }
	l.Saw(0, "k", at(1, 64*time.Second))
	due(t, l, 65*time.Second+2*step-1, ranks)
	due(t, l, 65*time.Second+2*step, ranks, Due{"k", 1})
	rank = -1
	if due(t, l, time.Hour, ranks); l.Len() != 0 {
		t.Errorf("%d are known", l.Len())
	}
}

// TestLifetimesAreBounded: what does not fit is known later, and one call looks at
// so many.
func TestLifetimesAreBounded(t *testing.T) {
	l := NewLifetimes(step, 100)
	for n := range 150 {
		l.Saw(time.Duration(150-n), fmt.Sprint(n), at(1, time.Second))
	}
	if l.Len() != 100 {
		t.Errorf("%d are known", l.Len())
	}
	asked := 0
	got := l.Due(time.Hour, 30, func(string) int { asked++; return 0 })
	if len(got) != 30 || asked != 30 || got[0].Key != "99" || got[29].Key != "70" {
		t.Errorf("asked for %d: %v", asked, got)
	}
	l.Saw(time.Hour, "99", &register.Value{})
	l.Saw(time.Hour, "149", at(1, time.Second))
	if l.Len() != 100 {
		t.Errorf("%d are known", l.Len())
	}
}

// TestFailed: what fails is tried again after steps that double, apart from the
// others, until it changes.
func TestFailed(t *testing.T) {
	l := NewLifetimes(step, 10)
	again := func(now time.Duration, want ...Due) {
		t.Helper()
		if diff := cmp.Diff(want, l.Again(now, 10, first)); diff != "" {
			t.Errorf("at %v: %s", now, diff)
		}
	}
	l.Saw(0, "k", at(1, 64*time.Second))
	l.Saw(1, "other", at(1, 64*time.Second))
	due(t, l, 65*time.Second+1, first, Due{"k", 1}, Due{"other", 1})
	now := 65 * time.Second
	for _, steps := range []time.Duration{2, 4, 8, 16, 16} {
		l.Failed(now, "k")
		again(now + steps*step - 1)
		now += steps * step
		due(t, l, now, first, Due{"other", 1})
		again(now, Due{"k", 1})
		again(now + steps*step - 1)
	}
	l.Saw(now, "k", at(2, 64*time.Second))
	l.Saw(now, "other", &register.Value{})
	now += 65 * time.Second
	again(now)
	due(t, l, now, first, Due{"k", 2})
	l.Failed(now, "other") // nobody knows it any more
	l.Failed(now, "k")
	if l.Saw(now, "k", &register.Value{}); l.Len() != 0 {
		t.Errorf("%d are known", l.Len())
	}
	again(now + time.Hour)
}

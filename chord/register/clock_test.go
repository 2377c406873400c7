package register

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimestamp(t *testing.T) {
	for _, tt := range []struct {
		at   time.Time
		want uint64
	}{
		{ClockEpoch, 0},
		{ClockEpoch.Add(-time.Hour), 0},
		{ClockEpoch.Add(time.Millisecond), 1 << 12},
		{ClockEpoch.Add(1999 * time.Microsecond), 1 << 12},
		{time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), MaxTime},
	} {
		if got := Timestamp(tt.at); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.at, got, tt.want)
		}
	}
	fine := FineTimestamp(ClockEpoch.Add(1500 * time.Microsecond))
	if want := uint64(1<<12 | 1<<11); fine != want || FineTimestamp(ClockEpoch.Add(-1)) != 0 || FineTimestamp(ClockEpoch.AddDate(100, 0, 0)) != MaxTime {
		t.Errorf("1.5 ms is %d, want %d", fine, want)
	}
	if uint64(float64(MaxTime)) != MaxTime || uint64(float64(MaxTime-1)) != MaxTime-1 {
		t.Error("a timestamp does not survive a float64")
	}
	rapid.Check(t, func(t *rapid.T) {
		at := ClockEpoch.Add(time.Duration(rapid.Int64Range(0, 60*365*24*3600*1000).Draw(t, "ms")) * time.Millisecond)
		if got := TimeOf(Timestamp(at)); !got.Equal(at) {
			t.Fatalf("%v came back as %v", at, got)
		}
	})
}

// TestClock: whatever is issued and observed, timestamps only grow, those of one
// call are in a row, and none is ahead of the wall clock by more than the drift
// and what was issued since.
func TestClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Clock{maxDrift: time.Second}
		at := uint64(1 << 30)
		for range 30 {
			before := c.Last()
			at += rapid.Uint64Range(0, 3<<12).Draw(t, "passes")
			if rapid.IntRange(0, 9).Draw(t, "back?") == 0 {
				at -= 1 << 14
			}
			if rapid.Bool().Draw(t, "issue") {
				n := rapid.IntRange(1, 70).Draw(t, "n")
				last := c.next(at, n)
				if first := last - uint64(n) + 1; first <= before || first < at {
					t.Fatalf("issued %d to %d after %d, at %d", first, last, before, at)
				}
				continue
			}
			ts := at + rapid.Uint64Range(0, 2*ticks(time.Second)).Draw(t, "observed")
			err := c.observe(ts, at)
			var drift *DriftError
			switch far := ts > at+ticks(time.Second); {
			case ts <= before || !far:
				if err != nil || c.Last() != max(before, ts) {
					t.Fatalf("observed %d at %d after %d: %v, %d", ts, at, before, err, c.Last())
				}
			case !errors.As(err, &drift) || c.Last() != before || drift.Max != time.Second || drift.Ahead < time.Second:
				t.Fatalf("observed %d at %d after %d: %v, %d", ts, at, before, err, c.Last())
			}
		}
	})
}

func TestDriftErrorSaysWhatToDo(t *testing.T) {
	c := Clock{maxDrift: time.Minute}
	err := c.observe(ticks(2*time.Minute), 0)
	if err == nil || !strings.Contains(err.Error(), "2m0s ahead of the local clock and may be 1m0s (max_clock_drift)") {
		t.Error(err)
	}
	if err := c.observe(MaxTime+1, MaxTime); err == nil {
		t.Error("a timestamp of more than 53 bits was observed")
	}
}

func TestClockEnds(t *testing.T) {
	c := Clock{last: MaxTime - 1}
	if got := c.next(0, 1); got != MaxTime {
		t.Errorf("issued %d", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a timestamp of more than 53 bits was issued")
		}
	}()
	c.next(0, 1)
}

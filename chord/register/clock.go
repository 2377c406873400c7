package register

import (
	"fmt"
	"time"
)

// Timestamps are hybrid logical (Kulkarni et al. 2014): milliseconds since
// ClockEpoch in the upper 41 bits and a counter in the lower 12. All 53 bits fit
// a float64 exactly, so a timestamp survives JSON as a number.
const (
	counterBits = 12
	// MaxTime is the largest timestamp; the clock reaches it in the year 2094.
	MaxTime = 1<<53 - 1
	// DefaultMaxDrift is how far ahead of the local clock a timestamp may be.
	DefaultMaxDrift = 10 * time.Minute
)

// ClockEpoch is the time at which timestamps begin.
var ClockEpoch = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// Timestamp returns the first timestamp of a wall-clock time.
func Timestamp(t time.Time) uint64 {
	ms := t.Sub(ClockEpoch).Milliseconds()
	if ms < 0 {
		return 0
	}
	return min(uint64(ms)<<counterBits, MaxTime)
}

// FineTimestamp is Timestamp with the part of the millisecond in place of the
// counter, so that shards which know nothing of each other give changes that
// follow each other different timestamps, in that order.
func FineTimestamp(t time.Time) uint64 {
	since := t.Sub(ClockEpoch)
	if since < 0 {
		return 0
	}
	return min(Timestamp(t)|uint64(since%time.Millisecond)<<counterBits/uint64(time.Millisecond), MaxTime)
}

// TimeOf returns the wall-clock time of a timestamp, to the millisecond.
func TimeOf(ts uint64) time.Time {
	return ClockEpoch.Add(time.Duration(ts>>counterBits) * time.Millisecond)
}

// ticks turns a duration into a difference of timestamps.
func ticks(d time.Duration) uint64 { return uint64(d.Milliseconds()) << counterBits }

// DriftError says that a timestamp is too far ahead of the local clock.
type DriftError struct {
	// Ahead is how far, Max how far it may be.
	Ahead, Max time.Duration
}

func (e *DriftError) Error() string {
	return fmt.Sprintf("a timestamp is %v ahead of the local clock and may be %v (max_clock_drift); set the clocks of both machines right", e.Ahead.Round(time.Millisecond), e.Max)
}

// Clock is a hybrid logical clock. It never goes back.
type Clock struct {
	last     uint64
	maxDrift time.Duration
}

// Last returns the newest timestamp issued or observed.
func (c *Clock) Last() uint64 { return c.last }

// next issues n timestamps in a row and returns the last of them. All are above
// everything issued or observed before.
func (c *Clock) next(wall uint64, n int) uint64 {
	c.last = max(c.last+uint64(n), wall+uint64(n)-1)
	if c.last > MaxTime {
		panic(fmt.Sprintf("register: timestamp %d is beyond the year 2094", c.last))
	}
	return c.last
}

// observe moves the clock up to ts, unless ts is too far ahead of the wall clock.
func (c *Clock) observe(ts, wall uint64) error {
	if ts <= c.last {
		return nil
	}
	if ts > MaxTime || ts > wall+ticks(c.maxDrift) {
		ahead := time.Duration((ts-wall)>>counterBits) * time.Millisecond
		return &DriftError{Ahead: ahead, Max: c.maxDrift}
	}
	c.last = ts
	return nil
}

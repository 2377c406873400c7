package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"
)

// sample is one operation that was done.
type sample struct {
	kind       string
	begin, end time.Time
}

// measure collects what operations took.
type measure struct {
	mu      sync.Mutex
	samples []sample
}

func (m *measure) add(kind string, begin time.Time) {
	s := sample{kind, begin, time.Now()}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.samples = append(m.samples, s)
}

// of returns the samples of a kind, in the order of their ends.
func (m *measure) of(kind string) []sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	var some []sample
	for _, s := range m.samples {
		if s.kind == kind {
			some = append(some, s)
		}
	}
	slices.SortFunc(some, func(a, b sample) int { return a.end.Compare(b.end) })
	return some
}

// span is a stretch of time.
type span struct{ begin, end time.Time }

// within reports whether an operation was under way in the span.
func (s sample) within(t span) bool { return !s.begin.After(t.end) && !s.end.Before(t.begin) }

// pause returns the longest time in the span without the end of an operation.
func pause(samples []sample, t span) time.Duration {
	longest, last := time.Duration(0), t.begin
	for _, s := range samples {
		if !s.end.Before(t.begin) && !s.end.After(t.end) {
			longest, last = max(longest, s.end.Sub(last)), s.end
		}
	}
	return max(longest, t.end.Sub(last))
}

// figures are what the table shows of one kind.
type figures struct {
	count    int
	rate     float64 // operations per second, from the first begin to the last end
	p50, p99 time.Duration
	slowest  time.Duration // of those that were under way in the span; 0 if none was
}

func figuresOf(samples []sample, around span) figures {
	if len(samples) == 0 {
		return figures{}
	}
	f := figures{count: len(samples)}
	begin, took := samples[0].begin, []time.Duration{}
	for _, s := range samples {
		if s.begin.Before(begin) {
			begin = s.begin
		}
		took = append(took, s.end.Sub(s.begin))
		if s.within(around) {
			f.slowest = max(f.slowest, s.end.Sub(s.begin))
		}
	}
	slices.Sort(took)
	f.p50, f.p99 = took[(len(took)-1)*50/100], took[(len(took)-1)*99/100]
	if all := samples[len(samples)-1].end.Sub(begin); all > 0 {
		f.rate = float64(f.count) / all.Seconds()
	}
	return f
}

// table writes the figures of each kind.
func (m *measure) table(w io.Writer, around span, kinds ...string) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "operation\tcount\tper second\tp50 ms\tp99 ms\tslowest around the kills, ms\t")
	for _, kind := range kinds {
		f := figuresOf(m.of(kind), around)
		slowest := "-"
		if f.slowest > 0 {
			slowest = milliseconds(f.slowest)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", kind, thousands(f.count), thousands(int(f.rate)), milliseconds(f.p50), milliseconds(f.p99), slowest)
	}
	return t.Flush()
}

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64)
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

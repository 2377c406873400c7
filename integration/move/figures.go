package main

import (
	"slices"
	"time"
)

// figures are what operations took, by kind.
type figures map[string]figure

type figure struct {
	count             int
	p50, p99, slowest time.Duration
}

// figures returns what was measured since the last call.
func (w *work) figures() figures {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := figures{}
	for kind, took := range w.times {
		f[kind] = figureOf(took)
	}
	clear(w.times)
	return f
}

func figureOf(took []time.Duration) figure {
	slices.Sort(took)
	n := len(took)
	if n == 0 {
		return figure{}
	}
	return figure{count: n, p50: took[(n-1)*50/100], p99: took[(n-1)*99/100], slowest: took[n-1]}
}

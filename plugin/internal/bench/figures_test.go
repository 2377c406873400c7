package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFiguresOf(t *testing.T) {
	clients := make([]client, 2)
	for i := range 1000 {
		c := &clients[i%2]
		c.took = append(c.took, time.Duration(1000-i)*time.Microsecond)
	}
	require.Equal(t, figures{p50: 500, p99: 990, rate: 500, count: 1000, busy: 3000}, figuresOf(clients, 2*time.Second, 3*time.Millisecond))
}

// What is added is compared within each round, and the median of that counts.
func TestAdded(t *testing.T) {
	same := func(v float64) figures { return figures{p50: v, p99: v, rate: 1e6 / v, count: 10, busy: 10 * v} }
	r := &result{workload: workload{operation: "get", size: small, clients: 1}, rounds: []round{
		{inProcess: same(10), plugin: same(110), echo: same(100)},
		{inProcess: same(10), plugin: same(310), echo: same(200)},
		{inProcess: same(10), plugin: same(30), echo: same(100)},
	}}
	require.InDelta(t, 1, r.added(), 1e-9)
	require.InDelta(t, 150, r.cpu(viaPlugin), 1e-9)
	require.InDelta(t, 1.05, r.addedCPU(), 1e-9)
	r.rounds = r.rounds[:2]
	require.InDelta(t, 1.25, r.added(), 1e-9)

	many := *r
	many.clients = 64
	many.rounds = []round{{inProcess: figures{rate: 1e6, count: 1}, plugin: figures{rate: 1e5, count: 1}, echo: figures{rate: 5e5, count: 1}}}
	require.InDelta(t, 4.5, many.added(), 1e-9)

	met := *r
	met.rounds = r.rounds[:1]

	var out bytes.Buffer
	require.NoError(t, printTable(&out, []*result{r, &many, &met}))
	require.Contains(t, out.String(), "Met in 1 of 3 cases.")
	require.Regexp(t, `get 1 KiB +1 +plugin +210 +210 +\d+ +210\.0 +1\.25 +1\.33 +missed`, out.String())
	require.Regexp(t, `get 1 KiB +64 +plugin .* 4\.50 +- +unclear`, out.String())
	require.Regexp(t, `get 1 KiB +1 +plugin +110 .* 1\.00 +1\.00 +met`, out.String())
}

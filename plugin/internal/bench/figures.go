package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// goal is how many times as much as an echo the plugin may add to an operation.
const goal = 1.3

// figures are what was measured in one slice.
type figures struct {
	p50, p99 float64 // microseconds
	rate     float64 // operations per second
	count    int     // operations
	busy     float64 // microseconds of processor time of all processes
}

func figuresOf(clients []client, elapsed, cpu time.Duration) figures {
	var took []time.Duration
	for _, c := range clients {
		took = append(took, c.took...)
	}
	slices.Sort(took)
	n := len(took)
	return figures{
		p50: micros(took[(n-1)*50/100]), p99: micros(took[(n-1)*99/100]),
		rate: float64(n) / elapsed.Seconds(), count: n, busy: micros(cpu),
	}
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// round is one case, measured of all targets right after each other.
type round struct{ inProcess, plugin, echo figures }

// result is what was measured of a case.
type result struct {
	workload
	rounds []round
}

// median returns the median of f over the rounds; of an even number the mean of the
// two in the middle.
func (r *result) median(f func(round) float64) float64 {
	var all []float64
	for _, one := range r.rounds {
		all = append(all, f(one))
	}
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

// time is what an operation takes in a slice, in microseconds. When many clients wait
// for each other the median says who came first, not what an operation takes.
func (r *result) time(f figures) float64 {
	if r.clients == 1 {
		return f.p50
	}
	return 1e6 / f.rate
}

// added is how many echoes the plugin costs in time: what it adds to the node in
// process, divided by an echo, round by round.
func (r *result) added() float64 {
	return r.median(func(one round) float64 {
		return (r.time(one.plugin) - r.time(one.inProcess)) / r.time(one.echo)
	})
}

// cpu is the processor time of an operation in microseconds, over all rounds: that of
// one is too coarse.
func (r *result) cpu(of func(round) figures) float64 {
	busy, count := 0.0, 0
	for _, one := range r.rounds {
		f := of(one)
		busy += f.busy
		count += f.count
	}
	return busy / float64(count)
}

// The targets, in a round.
func inProcess(r round) figures { return r.inProcess }
func viaPlugin(r round) figures { return r.plugin }
func echoed(r round) figures    { return r.echo }

// addedCPU is how many echoes the plugin costs in processor time.
func (r *result) addedCPU() float64 {
	return (r.cpu(viaPlugin) - r.cpu(inProcess)) / r.cpu(echoed)
}

// ratio prints a ratio; one to nothing is none.
func ratio(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "-"
	}
	return fmt.Sprintf("%.2f", x)
}

// printTable writes a line for each target of each case, and whether the goal is met.
func printTable(out io.Writer, results []*result) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "operation\tclients\t\tp50 us\tp99 us\tops/s\tCPU us/op\tadded time\tadded CPU\tgoal\t")
	met, all := 0, 0
	for _, r := range results {
		for _, target := range []struct {
			name string
			of   func(round) figures
		}{
			{"in process", inProcess}, {"plugin", viaPlugin}, {"echo", echoed},
		} {
			value := func(f func(figures) float64) float64 {
				return r.median(func(one round) float64 { return f(target.of(one)) })
			}
			clients := fmt.Sprint(r.clients)
			if r.pause > 0 {
				clients += fmt.Sprintf(", pause %v", r.pause)
			}
			verdict := "\t\t"
			if target.name == "plugin" {
				all++
				added, processor := r.added(), r.addedCPU()
				word := "missed"
				switch {
				case math.IsInf(processor, 0) || !(added > 0 && processor > 0):
					word = "unclear" // it can not be; the machine was too busy, or the slice too short
				case added <= goal && processor <= goal:
					word = "met"
					met++
				}
				verdict = fmt.Sprintf("%s\t%s\t%s", ratio(added), ratio(processor), word)
			}
			fmt.Fprintf(t, "%s %d KiB\t%s\t%s\t%.0f\t%.0f\t%.0f\t%.1f\t%s\t\n", r.operation, r.size>>10, clients, target.name,
				value(func(f figures) float64 { return f.p50 }), value(func(f figures) float64 { return f.p99 }),
				value(func(f figures) float64 { return f.rate }), r.cpu(target.of), verdict)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, `
added: (plugin - in process) / echo, round by round; the time is p50 with one client,
and with more the time divided by the operations. CPU is that of all
processes, over all rounds.
Goal: at most %.1f in both. Met in %d of %d cases.
`, goal, met, all)
	return err
}

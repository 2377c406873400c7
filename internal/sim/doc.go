// Package sim runs a whole ring, the real ring and register code, in one
// goroutine under one seed: message loss, delay and doubling, partitions,
// crashes that lose what was not synced, disks that stall, clocks that are wrong
// and run wrong. What the clients saw is judged by a linearizability checker. One
// seed reproduces a run to the last step.
package sim

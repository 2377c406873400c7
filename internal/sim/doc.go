// Package sim runs a whole ring, the real ring and register code, in one
// goroutine under one seed: message loss, delay and doubling, partitions,
// crashes that lose what was not synced, disks that stall or fail, clocks that are
// wrong and run wrong. What the clients saw is judged by a linearizability checker. One
// seed reproduces a run to the last step. A Script runs the same shards by explicit
// commands, for schedules that chance would hardly find.
package sim

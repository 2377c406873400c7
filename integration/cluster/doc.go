// Package cluster runs rings of real agents on loopback, each member a process
// of its own, and does to them what happens to processes: SIGKILL, SIGSTOP, a
// full disk, a network that is cut in two.
//
// Nothing that it starts outlives the program that uses it: Close ends
// everything, and a watchdog beside each process kills it when the program is
// gone without having called Close. All waiting is bounded.
package cluster

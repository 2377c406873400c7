// Package integration holds the tests that run real agents as processes and do
// to them what happens to processes: SIGKILL, SIGSTOP, full disks, networks that
// are cut in two; while the ring is as it is, and while it changes. Crews work at
// all members meanwhile, and in the end it is judged whether what they saw can be
// true, and everything is read back: load writes single keys, bank makes
// transactions, locks fights over locks.
//
// A clock that is wrong is left to internal/sim: no process can be given another
// clock without rights or a preloaded library.
package integration

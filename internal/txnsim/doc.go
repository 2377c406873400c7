// Package txnsim runs the real transaction code over simulated registers, under
// one seed: the registers are linearizable, but calls are slow, late or lost, may
// end in doubt and take effect long after, clocks differ by minutes, and
// coordinators die at any step. What clients saw is judged for strict
// serializability. Processes are coroutines of one goroutine, so that a seed
// reproduces a run to the last step.
//
// Runs with sessions have holders that renew them by clocks of their own, and may
// be stopped for longer than that lets them live; owners that end what has a
// lifetime, by other clocks; and clients that lock.
package txnsim

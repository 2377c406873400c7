package locking

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// The clocks of clock_gettime(2): of the two the second goes on while the machine is
// suspended.
const (
	clockMonotonic = 1
	clockBoottime  = 7
)

// newSuspended returns a machineClock's suspended. A time between the reading of the
// two clocks makes the difference too small, never too large, so the largest counts.
func newSuspended() func() time.Duration {
	var largest atomic.Int64
	return func() time.Duration {
		boottime, ok := read(clockBoottime)
		monotonic, both := read(clockMonotonic)
		for known := largest.Load(); ok && both && boottime-monotonic > known; known = largest.Load() {
			largest.CompareAndSwap(known, boottime-monotonic)
		}
		return time.Duration(largest.Load())
	}
}

// read returns what a clock shows, in nanoseconds, unless there is none or a sandbox
// forbids the call.
func read(clock uintptr) (ns int64, ok bool) {
	var t syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0)
	return t.Nano(), errno == 0
}

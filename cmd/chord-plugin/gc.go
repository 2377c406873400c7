package main

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap grow to three times what lives in it before it is collected.
// What lives is small beside Pebble's cache, which Go does not collect, and each change
// leaves much behind: with Go's own 100 % more than a tenth of the CPU collects.
const gcPercent = 200

// tuneGC sets gcPercent unless the environment says otherwise.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

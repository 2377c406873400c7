package locking

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The clock that goes on in suspend is the one that the kernel calls the uptime.
func TestReadBoottime(t *testing.T) {
	uptime := func() time.Duration {
		text, err := os.ReadFile("/proc/uptime")
		require.NoError(t, err)
		seconds, err := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
		require.NoError(t, err)
		return time.Duration(seconds * float64(time.Second))
	}
	const resolution = 10 * time.Millisecond
	before := uptime()
	ns, ok := read(clockBoottime)
	after := uptime()
	require.True(t, ok)
	require.GreaterOrEqual(t, time.Duration(ns), before-resolution)
	require.LessOrEqual(t, time.Duration(ns), after+resolution)

	_, ok = read(99)
	require.False(t, ok, "there is no such clock")
}

// What the machine was suspended for before counts, and reading it again changes nothing.
func TestSuspended(t *testing.T) {
	boottime, _ := read(clockBoottime)
	monotonic, _ := read(clockMonotonic)
	suspended := newSuspended()
	last := suspended()
	require.InDelta(t, boottime-monotonic, last, float64(100*time.Millisecond))
	for range 1000 {
		next := suspended()
		require.GreaterOrEqual(t, next, last)
		last = next
	}
}

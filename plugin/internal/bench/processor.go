package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on every
// Linux that Go runs on.
const tick = 10 * time.Millisecond

// processorTime returns the user and system time that processes have taken so far,
// in sum. It needs Linux; see proc_pid_stat(5).
func processorTime(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("read what processor time was taken: %w", err)
		}
		// The name is in parentheses and may hold anything. What follows begins with
		// field 3; utime is field 14, stime 15.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		const utime, stime = 14 - 3, 15 - 3
		if len(fields) <= stime {
			return 0, fmt.Errorf("/proc/%d/stat has only %d fields", pid, len(fields))
		}
		for _, f := range fields[utime : stime+1] {
			n, err := strconv.ParseInt(string(f), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
			}
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}

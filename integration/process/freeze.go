package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// freezePatience bounds how long threads may take to stand still.
	freezePatience = 5 * time.Second
	freezePoll     = time.Millisecond
)

// Freeze stops a process with SIGSTOP, or with a negative number a process group, and
// waits until all its threads stand still. The signal alone does not wait: a thread that
// works finishes what it does on its other core, and a write that is sent meanwhile can
// still be answered. It needs Linux.
func Freeze(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze process %d: %w", pid, err)
	}
	for late := time.Now().Add(freezePatience); ; time.Sleep(freezePoll) {
		moving, err := moving(pid)
		if err != nil {
			return fmt.Errorf("freeze process %d: %w", pid, err)
		}
		if len(moving) == 0 {
			return nil
		}
		if time.Now().After(late) {
			return fmt.Errorf("freeze process %d: threads %v still run after %v", pid, moving, freezePatience)
		}
	}
}

// moving returns the threads of a process, or of a group as a negative number, that are
// neither stopped nor dead.
func moving(pid int) (threads []int, err error) {
	dirs := []string{fmt.Sprint("/proc/", pid)}
	if pid < 0 {
		if dirs, err = filepath.Glob("/proc/[0-9]*"); err != nil {
			return nil, err
		}
	}
	for _, dir := range dirs {
		if s, err := ReadStat(dir); pid < 0 && (err != nil || s.Group != -pid) { // gone, or of another group
			continue
		}
		tasks, err := filepath.Glob(dir + "/task/*")
		if err != nil {
			return nil, err
		}
		for _, task := range tasks {
			s, err := ReadStat(task)
			switch {
			case errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH): // a thread that has ended
			case err != nil:
				return nil, err
			case !strings.ContainsRune("TtZX", rune(s.State)):
				threads = append(threads, s.ID)
			}
		}
	}
	return threads, nil
}

// Stat is what Linux says of a process or thread.
type Stat struct {
	ID     int
	State  byte // R runs, T is stopped, Z has ended and nobody has waited for it
	Parent int
	Group  int
	Began  int // ticks of the clock since the machine started
}

// ReadStat reads the stat file of a directory under /proc (proc(5)).
func ReadStat(dir string) (Stat, error) {
	text, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return Stat{}, err
	}
	id, rest, _ := strings.Cut(string(text), " ")
	// The name is in parentheses, and may have some itself.
	fields := strings.Fields(rest[strings.LastIndexByte(rest, ')')+1:])
	if len(fields) < 20 {
		return Stat{}, fmt.Errorf("%s/stat has %d fields behind the name", dir, len(fields))
	}
	s := Stat{State: fields[0][0]}
	for _, f := range []struct {
		text string
		to   *int
	}{{id, &s.ID}, {fields[1], &s.Parent}, {fields[2], &s.Group}, {fields[19], &s.Began}} {
		if *f.to, err = strconv.Atoi(f.text); err != nil {
			return Stat{}, fmt.Errorf("%s/stat: %w", dir, err)
		}
	}
	return s, nil
}

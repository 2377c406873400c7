package cluster

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// tailBytes is how much of a member's log is kept for Tail.
const tailBytes = 64 << 10

// output takes what a member says: all of it to a file, the end to memory. It
// stays the same one over restarts. The member writes into a pipe and not into
// the file, so that a limit on the files it may write spares its log.
type output struct {
	mu   sync.Mutex
	file *os.File
	end  []byte
}

func newOutput(path string) (*output, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &output{file: f}, nil
}

// Write implements io.Writer. It never fails: a member must not be stopped by
// the disk of its log.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, _ = o.file.Write(b) // the end is kept in memory anyway
	o.end = append(o.end, b...)
	if len(o.end) > 2*tailBytes {
		o.end = bytes.Clone(o.end[len(o.end)-tailBytes:])
	}
	return len(b), nil
}

// note writes a line about what was done to the member.
func (o *output) note(format string, args ...any) {
	line := fmt.Sprintf("=== %s %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
	_, _ = o.Write([]byte(line)) // it never fails
}

// tail returns the last lines.
func (o *output) tail(lines int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := strings.Split(strings.TrimRight(string(o.end), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (o *output) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.file.Close()
}

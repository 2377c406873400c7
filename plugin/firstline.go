package plugin

import (
	"bytes"
	"strings"
	"sync"
)

// maxFirstLine is how much of a program's first line is kept, in bytes.
const maxFirstLine = 1 << 10

// firstLine is a writer that keeps the first line that is not empty, and of
// that the beginning.
type firstLine struct {
	mu   sync.Mutex
	line []byte
	full bool
}

// Write never fails.
func (w *firstLine) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := p; !w.full && len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		w.line = append(w.line, line[:min(len(line), maxFirstLine-len(w.line))]...)
		w.full = ended && len(bytes.TrimSpace(w.line)) > 0 || len(w.line) == maxFirstLine
		rest = after
	}
	return len(p), nil
}

// String returns the line without the space around it.
func (w *firstLine) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(w.line))
}

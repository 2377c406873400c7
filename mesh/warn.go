package mesh

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// maxWarned bounds the kinds of warnings that are remembered.
const maxWarned = 1024

// warned remembers when a warning was logged, so that a peer that fails again
// and again does not fill the log.
type warned struct {
	mu   sync.Mutex
	last map[[2]string]time.Duration
}

// due reports whether the warning about key may be logged again.
func (w *warned) due(key, msg string, now time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := [2]string{key, msg}
	if last, ok := w.last[k]; ok && now-last < warnEvery {
		return false
	}
	if w.last == nil || len(w.last) >= maxWarned {
		w.last = map[[2]string]time.Duration{}
	}
	w.last[k] = now
	return true
}

// warn logs at warn level, the same message about one key once a minute, and at
// debug level in between.
func (m *Mesh) warn(key, msg string, args ...any) {
	if m.warned.due(key, msg, m.now()) {
		m.log.Warn(msg, args...)
	} else {
		m.log.Debug(msg, args...)
	}
}

// warnKey tells failures with one peer apart by their kind.
func warnKey(peer string, err error) string {
	if r := new(RefusedError); errors.As(err, &r) {
		return fmt.Sprintf("%s refusal %d", peer, r.Reason)
	}
	return peer
}

package gossip

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// listLog takes memberlist's lines, "[WARN] memberlist: text", to hclog.
type listLog struct{ log hclog.Logger }

// quiet are memberlist's lines that say what this package says better, or that
// are no news: each refused node at each message, and pings that were meant for
// the last life of a restarted node.
var quiet = []string{
	"ignoring alive message for",
	"Failed push/pull merge",
	"Got ping for unexpected node",
	"Refuting a",
	"Failed fallback TCP ping",
	"Ignoring an alive message",
}

// Write takes one line.
func (l listLog) Write(p []byte) (int, error) {
	line := string(bytes.TrimSpace(p))
	level := hclog.Info
	if rest, ok := strings.CutPrefix(line, "["); ok {
		if name, text, ok := strings.Cut(rest, "]"); ok {
			if name == "ERR" {
				name = "ERROR"
			}
			if found := hclog.LevelFromString(name); found != hclog.NoLevel {
				level, line = found, strings.TrimSpace(text)
			}
		}
	}
	line = strings.TrimPrefix(line, "memberlist: ")
	for _, q := range quiet {
		if strings.HasPrefix(line, q) {
			level = hclog.Trace
		}
	}
	l.log.Log(level, line)
	return len(p), nil
}

// The limits of a limiter.
const (
	limitInterval = time.Minute
	limitKeys     = 256
)

// limiter lets one line a minute through for each key, and keeps a bounded
// number of keys.
type limiter struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (l *limiter) allow(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t, ok := l.last[key]; ok && now.Sub(t) < limitInterval {
		return false
	}
	if len(l.last) >= limitKeys {
		for k, t := range l.last {
			if now.Sub(t) >= limitInterval {
				delete(l.last, k)
			}
		}
		if len(l.last) >= limitKeys {
			return false
		}
	}
	if l.last == nil {
		l.last = map[string]time.Time{}
	}
	l.last[key] = now
	return true
}

package load

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// ledger is what the clients wrote and deleted each for itself, as far as that
// was acknowledged. A key is written once and deleted at most once.
type ledger struct {
	mu   sync.Mutex
	keys map[string]entry
}

// entry is a key of the ledger.
type entry struct {
	state entryState
	value string
	at    time.Duration // when that was acknowledged
}

type entryState int

const (
	// held: it was acknowledged, and nobody has tried to delete it.
	held entryState = 1 + iota
	// going: its deletion is under way, or its outcome unknown.
	going
	// gone: its deletion was acknowledged.
	gone
)

func newLedger() *ledger { return &ledger{keys: map[string]entry{}} }

func (l *ledger) set(key string, e entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys[key] = e
}

func (l *ledger) get(key string) entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keys[key]
}

// look returns all entries as they are.
func (l *ledger) look() map[string]entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.keys)
}

// compare says what is wrong with a list, given the entries before it began.
func (l *ledger) compare(before map[string]entry, list []string) (wrong []string) {
	after := l.look()
	for _, key := range list {
		if e := before[key]; e.state == gone {
			wrong = append(wrong, fmt.Sprintf("has %q, whose deletion was acknowledged at %v", key, e.at))
		}
		delete(before, key)
	}
	for key, e := range before {
		if e.state == held && after[key].state == held {
			wrong = append(wrong, fmt.Sprintf("lacks %q, acknowledged at %v", key, e.at))
		}
	}
	return wrong
}

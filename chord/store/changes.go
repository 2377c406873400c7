package store

import (
	"slices"
	"strings"
	"sync"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// The limits of the ring of recent changes.
const (
	MaxChanges      = 16384
	MaxChangesBytes = 4 << 20 // of keys
)

// bootBits is how many changes of one boot the counter can number. So counters of
// different boots never meet, and one of an earlier boot is known as such.
const bootBits = 40

// changes is a ring of the keys whose cells became durable last.
type changes struct {
	mu      sync.Mutex
	keys    []string // of change n at n % MaxChanges
	oldest  uint64   // the first change that is still here
	counter uint64   // the last change; oldest-1 where there is none
	bytes   int
	moved   chan struct{} // closed when the counter moves; nil while nobody waits
}

func (c *changes) init(boot uint64) {
	c.counter = boot << bootBits
	c.oldest = c.counter + 1
	c.keys = make([]string, MaxChanges)
}

func (c *changes) now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counter
}

// add takes those cells of a batch, which is durable, that are to be told.
func (c *changes) add(batch []request, told func(w *register.Write) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	moved := false
	for i := range batch {
		for j := range batch[i].writes {
			if w := &batch[i].writes[j]; w.Mark == nil && told(w) {
				c.push(w.Key)
				moved = true
			}
		}
	}
	if moved && c.moved != nil {
		close(c.moved)
		c.moved = nil
	}
}

func (c *changes) push(key string) {
	for c.counter-c.oldest+1 == MaxChanges || c.bytes+len(key) > MaxChangesBytes && c.oldest <= c.counter {
		old := &c.keys[c.oldest%MaxChanges]
		c.bytes -= len(*old)
		*old = ""
		c.oldest++
	}
	c.counter++
	c.keys[c.counter%MaxChanges] = key
	c.bytes += len(key)
}

// Counter returns the counter of Changes as of now.
func (s *Store) Counter() uint64 { return s.changes.now() }

// Changed returns a channel that is closed once a cell becomes durable after this
// call.
func (s *Store) Changed() <-chan struct{} {
	c := &s.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved == nil {
		c.moved = make(chan struct{})
	}
	return c.moved
}

// Changes returns the keys with the prefix and above after whose cells became
// durable after the counter since, sorted and each once, and the counter as of
// now. It reports false where it cannot tell, because since is of an earlier boot
// or too many changes ago (MaxChanges, MaxChangesBytes). A key is reported no
// later than its write is acknowledged. Internal keys are left out as in Scan.
func (s *Store) Changes(prefix, after string, since uint64) (keys []string, counter uint64, ok bool) {
	return s.changes.since(since, func(key string) bool {
		internal := prefix == "" && (key == "" || key[0] == 0)
		return strings.HasPrefix(key, prefix) && key > after && !internal
	})
}

// since returns the keys that changed after a counter, and the counter as of now.
func (c *changes) since(since uint64, of func(key string) bool) (keys []string, counter uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since+1 < c.oldest || since > c.counter {
		return nil, c.counter, false
	}
	for n := since + 1; n <= c.counter; n++ {
		if key := c.keys[n%MaxChanges]; of(key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), c.counter, true
}

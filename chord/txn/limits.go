package txn

import (
	"fmt"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Limits of a transaction. What is over one is refused before anything is
// written.
const (
	// MaxOps is how many operations a one-shot transaction may have, and how many
	// keys an interactive one may write.
	MaxOps = 128
	// MaxBytes is how large the values that it writes may be together.
	MaxBytes = 8 << 20
	// MaxTree is how many keys the delete-trees of a transaction may delete together.
	MaxTree = 4096
	// MaxCalls is how many reads an interactive one may make.
	MaxCalls = 4096
	// MaxReads is how many keys it may read; a list reads each key.
	MaxReads = 1 << 17
	// MaxReadBytes is how large the values may be that it reads, together.
	MaxReadBytes = 64 << 20
)

// Config says how long things take. A zero field has its default.
type Config struct {
	// Timeout is how long a transaction may take to commit. Whoever has known a
	// pending one for longer aborts it; so this is also for how long the keys of
	// a coordinator that died stay locked. Default 5 s.
	Timeout time.Duration
	// Life is how long an interactive transaction may live before it commits.
	// Registers must keep tombstones of host keys for longer than Life and Timeout
	// together, so that a key that was made and deleted meanwhile is noticed.
	// Default 1 min.
	Life time.Duration
	// Moment is how long a reader or an older writer lets a pending transaction be
	// before it interferes. Default 20 ms.
	Moment time.Duration
	// Pause is the first pause between two looks at what is in the way; they grow
	// up to Moment. Default 1 ms.
	Pause time.Duration
}

const (
	// maxAttempts bounds the attempts of a one-shot transaction.
	maxAttempts = 64
	// maxAgain bounds the attempts that are made anew because a change of the
	// transaction's own was in doubt or it took too long, and how often a doubt is
	// looked into.
	maxAgain = 3
	// fewNudges is how many nudges a transaction gets at once. Before each other one
	// the reader gives it time: 2 times Config.Moment, then 4 and 8 times; none any more
	// where it is known for stuckMoments.
	fewNudges    = 2
	stuckMoments = 64
	// maxRounds bounds the validations of one attempt.
	maxRounds = 8
	// maxLooks bounds how often a key or a range is looked at anew because what was
	// in it ended meanwhile.
	maxLooks = 32
	// maxListTries bounds the tries to see a range at rest.
	maxListTries = 12
	// maxResolves bounds the tries to resolve an intent of one's own.
	maxResolves = 3
	// maxSightings bounds what is remembered of others' transactions that were in
	// somebody's way. More than that within Config.Timeout have to wait.
	maxSightings = 1 << 15
)

// ID names one attempt of a transaction.
type ID = register.TxnID

// Coordinator runs transactions and reads for one node. Its methods may be called
// from many goroutines.
type Coordinator struct {
	cfg Config

	mu        sync.Mutex
	sightings map[ID]time.Duration
	order     []ID // of sightings, the oldest first
}

// New returns a coordinator.
func New(cfg Config) (*Coordinator, error) {
	for _, f := range []struct {
		name string
		d    *time.Duration
		def  time.Duration
	}{{"Timeout", &cfg.Timeout, 5 * time.Second}, {"Life", &cfg.Life, time.Minute}, {"Moment", &cfg.Moment, 20 * time.Millisecond}, {"Pause", &cfg.Pause, time.Millisecond}} {
		if *f.d < 0 {
			return nil, fmt.Errorf("txn: %s is %v and must be positive", f.name, *f.d)
		}
		if *f.d == 0 {
			*f.d = f.def
		}
	}
	return &Coordinator{cfg: cfg, sightings: map[ID]time.Duration{}}, nil
}

// known returns for how long this node has known a transaction that is not its
// own. It needs no clock but this node's. Only one that it has known for the timeout,
// so that whoever was in need of that could act on it, leaves its place to another.
func (c *Coordinator) known(id ID, now time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	since, ok := c.sightings[id]
	if ok {
		return now - since
	}
	if len(c.sightings) >= maxSightings {
		if now-c.sightings[c.order[0]] < c.cfg.Timeout {
			return 0
		}
		delete(c.sightings, c.order[0])
		c.order = c.order[1:]
	}
	c.sightings[id] = now
	c.order = append(c.order, id)
	return 0
}

// pause returns the next pause after one of d.
func (c *Coordinator) pause(d time.Duration) time.Duration {
	return max(min(2*d, c.cfg.Moment), c.cfg.Pause)
}

package register

import (
	"math/rand/v2"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// Cells reads what an acceptor has made durable, or handed out to be made so.
type Cells interface {
	// Load returns the cell of key, zero where there is none. After an error the
	// shard stops for good.
	Load(key string) (Cell, error)
}

// Config is what a Shard is made of. The zero value of every number is replaced
// by its default.
type Config struct {
	// Self is this node.
	Self ring.Node
	// Cells is the member's store; nil for a client, which owns nothing.
	Cells Cells
	// Mark is what was durable at the last stop; zero for a new member.
	Mark Mark
	// Fences is what was durable of the table of fences at the last stop.
	Fences []FenceEntry
	// Rand gives the jitter of retries.
	Rand *rand.Rand

	// MaxDrift is how far ahead of the local clock a timestamp may be. Default 10 min.
	MaxDrift time.Duration
	// MarkStep is how far ahead of the clock the high-water mark is kept: one
	// synced write per half a step while the shard works, and at most this much
	// clock time lost at a restart. Default 1 s.
	MarkStep time.Duration
	// MaxPromises bounds the promises kept, and the leases; beyond it the oldest
	// promise goes into the floor, which may cost other keys a retry. Default 4096.
	MaxPromises int
	// MaxWaiting bounds the operations under way; more are refused as
	// Overloaded. Default 8192.
	MaxWaiting int

	// Attempt is how long a ballot round waits for a quorum before it is tried
	// again. Default 500 ms.
	Attempt time.Duration
	// Backoff is the mean first pause between tries; it doubles up to 32 times
	// itself. Default 8 ms.
	Backoff time.Duration
	// Hedge is how long a read waits for the few owners it asked before it asks
	// all. Default 40 ms.
	Hedge time.Duration
	// ForwardMin and ForwardMax bound how long a node waits for another that
	// proposes for it; within them it is four times the usual answer time.
	// Default 100 ms and 2 s.
	ForwardMin, ForwardMax time.Duration
	// Window bounds the ballots at which a node may propose for another, counted
	// from when the operation began. Too small costs round trips under load; a
	// node that takes an operation back moves its clock past the window.
	// Default 500 ms.
	Window time.Duration
	// Avoid is how long a node that did not answer a forwarded operation in time
	// is passed over. Default 1 s.
	Avoid time.Duration
}

func (c *Config) setDefaults() {
	def(&c.MaxDrift, DefaultMaxDrift)
	def(&c.MarkStep, time.Second)
	def(&c.MaxPromises, 4096)
	def(&c.MaxWaiting, 8192)
	def(&c.Attempt, 500*time.Millisecond)
	def(&c.Backoff, 8*time.Millisecond)
	def(&c.Hedge, 40*time.Millisecond)
	def(&c.ForwardMin, 100*time.Millisecond)
	def(&c.ForwardMax, 2*time.Second)
	def(&c.Window, 500*time.Millisecond)
	def(&c.Avoid, time.Second)
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(uint64(c.Self), c.Mark.HighWater))
	}
}

func def[T int | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

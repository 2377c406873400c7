package store

import (
	"sync"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

const (
	// recentBytes bounds each of the two halves of what is remembered: when one is
	// full, the other one is forgotten.
	recentBytes = 2 << 20
	// recentCell is the largest cell in bytes that is remembered.
	recentCell = 4 << 10
	// recentOverhead is what a cell counts besides its key and data.
	recentOverhead = 512
	// pastBytes is what an entry of a lineage counts.
	pastBytes = 32
	// recentParts is into how many parts the keys are divided, each with a lock.
	recentParts = 16
)

// recent remembers the cells that were written last, and those that were looked for
// and read: the owner of a key loads its cell at each step of a change, and each is a
// search in all that Pebble holds.
//
// The committer tells of each cell that it has written, before anybody is told that
// it is durable. What Load has read is remembered only if nothing was written in that
// part meanwhile.
type recent struct{ parts [recentParts]recentPart }

type recentPart struct {
	mu          sync.Mutex
	now, before map[string]*recentLoad
	bytes       int    // of now
	writes      uint64 // were told
}

// recentLoad is what Load returns.
type recentLoad struct {
	cell register.Cell
	ok   bool
}

// size is about how many bytes it takes to remember it.
func (l *recentLoad) size(key string) int {
	v := &l.cell.Value
	n := recentOverhead + len(key) + v.Size() + pastBytes*len(v.Lineage)
	if v.Undo != nil {
		n += pastBytes * len(v.Undo.Value.Lineage)
	}
	return n
}

func (r *recent) part(key string) *recentPart { return &r.parts[ShardOf(key, recentParts)] }

// find returns what is remembered of a key, or nil; and what learn asks for.
func (r *recent) find(key string) (l *recentLoad, writes uint64) {
	p := r.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if l = p.now[key]; l == nil {
		l = p.before[key]
	}
	return l, p.writes
}

// learn remembers what was read of a key after find has returned writes.
func (r *recent) learn(key string, l recentLoad, writes uint64) {
	l.cell.Value.CloneData()
	p := r.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writes == writes {
		p.put(key, &l)
	}
}

// wrote remembers the cells of a batch that is written.
func (r *recent) wrote(batch []request) {
	for i := range batch {
		for j := range batch[i].writes {
			w := &batch[i].writes[j]
			if w.Mark != nil {
				continue
			}
			l := &recentLoad{w.Cell, !w.Drop}
			l.cell.Value.CloneData() // a slice of a whole message, or of the caller's memory
			p := r.part(w.Key)
			p.mu.Lock()
			p.writes++
			p.put(w.Key, l)
			p.mu.Unlock()
		}
	}
}

// put replaces what is remembered of a key. The lock is held.
func (p *recentPart) put(key string, l *recentLoad) {
	size := l.size(key)
	if size > recentCell {
		if old := p.now[key]; old != nil {
			p.bytes -= old.size(key)
		}
		delete(p.now, key)
		delete(p.before, key)
		return
	}
	if p.bytes+size > recentBytes/recentParts {
		p.now, p.before, p.bytes = p.before, p.now, 0
		clear(p.now)
	}
	if p.now == nil {
		p.now = map[string]*recentLoad{}
	}
	if old := p.now[key]; old != nil {
		p.bytes -= old.size(key)
	}
	p.now[key] = l
	p.bytes += size
}

package chord

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// syncer copies, in a joint configuration, what this member is to own by New: of
// each key the highest cell that all but f of the Old members have. It goes through
// the keys in order, at all of those members side by side, so that it sees which
// cells a majority holds.
type syncer struct {
	node   *Node
	st     *ringState
	copier copier
	began  time.Time
	cancel context.CancelFunc
	done   atomic.Bool
	keys   atomic.Uint64
	bytes  atomic.Uint64
	work   atomic.Uint64 // keys looked at, and bytes copied

	mu   sync.Mutex
	part float64 // how much is done
	held string  // why it is held up
}

// giver is an Old member that is copied from, and what it has given that was not
// looked at yet.
type giver struct {
	member         ring.Member
	notes          []copyNote
	next           string
	more, gone     bool
	tries          int // in vain
	scanned, total uint64
	bound          uint64
}

// syncPause is how long a member waits before it asks again those that did not
// answer.
const syncPause = 200 * time.Millisecond

// syncKeys is how many keys a giver looks at at a time: few, so that nobody who
// waits for its processor waits long.
const syncKeys = 100

// firstPageTimeout is how long a giver has for a page at first; it doubles, up to
// pageTimeout, as long as it does not answer.
const firstPageTimeout = time.Second

// newSyncer begins to copy in a joint configuration.
func newSyncer(n *Node, st *ringState) *syncer {
	s := &syncer{node: n, st: st, began: time.Now()}
	s.copier = copier{node: n, st: st, pace: newPace(n.cfg.SyncRate), copied: func(keys, bytes int) {
		s.keys.Add(uint64(keys))
		s.bytes.Add(uint64(bytes))
		s.work.Add(uint64(bytes))
	}}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(n.ctx)
	n.wg.Go(func() { s.run(ctx) })
	return s
}

// run copies until all is here, or ctx ends.
func (s *syncer) run(ctx context.Context) {
	conf := s.st.placement.Configuration()
	for conf.New.Has(s.node.id) {
		err := s.walk(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return
		}
		s.hold(err)
		if pause(ctx, syncPause) != nil {
			return
		}
	}
	s.done.Store(true)
	s.hold(nil)
	s.node.log.Info("copied what this member is to own", "epoch", conf.Epoch, "keys", s.keys.Load(), "bytes", s.bytes.Load(), "took", time.Since(s.began).Round(time.Millisecond))
	s.node.reshaper.wake()
}

// walk goes through all keys once, at all Old members but those that do not
// answer, of which there may be f. Last it promises what they have promised.
func (s *syncer) walk(ctx context.Context) error {
	conf := s.st.placement.Configuration()
	spare := conf.Old.Faults()
	if conf.Forced {
		spare = 0 // there is no quorum that would have everything
	}
	var givers []*giver
	for _, m := range conf.Old.Members {
		if m.ID != s.node.id {
			givers = append(givers, &giver{member: m, more: true})
		}
	}
	for {
		if err := s.fill(ctx, givers, spare); err != nil {
			return err
		}
		upTo, more := s.reach(givers)
		if err := s.copyUpTo(ctx, givers, upTo, more); err != nil {
			return err
		}
		s.note(givers)
		if !more {
			return s.raise(ctx, givers)
		}
	}
}

// errLeftOut: too few are left that have given everything so far, and some were left
// out that may be back: the walk has to begin anew.
var errLeftOut = errors.New("members that were left out are needed")

// fill asks the givers of which nothing is left for their next page. Those that do
// not answer are left out from here on, while there are enough others.
func (s *syncer) fill(ctx context.Context, givers []*giver, spare int) error {
	for {
		errs := make([]error, len(givers))
		asked := 0
		var wg sync.WaitGroup
		for i, g := range givers {
			if !g.gone && g.more && len(g.notes) == 0 {
				asked++
				wg.Go(func() { errs[i] = s.ask(ctx, g) })
			}
		}
		wg.Wait()
		if err := s.copier.pace.spend(ctx, asked*syncKeys*noteBytes); err != nil {
			return err
		}
		missing, leftOut := 0, false
		var held error
		for i, g := range givers {
			leftOut = leftOut || g.gone
			if g.gone || errs[i] != nil {
				missing++
			}
			if errs[i] != nil {
				held = fmt.Errorf("copying from %q: %w", g.member.Name, errs[i])
			}
		}
		if missing <= spare {
			for i, g := range givers {
				g.gone = g.gone || errs[i] != nil
			}
			if !s.unfilled(givers) {
				return nil
			}
			continue
		}
		if leftOut {
			return fmt.Errorf("%w: %w", errLeftOut, held)
		}
		s.hold(held)
		if err := pause(ctx, syncPause); err != nil {
			return err
		}
	}
}

// unfilled reports whether a giver had nothing for us in a page and has more.
func (s *syncer) unfilled(givers []*giver) bool {
	for _, g := range givers {
		if !g.gone && g.more && len(g.notes) == 0 {
			return true
		}
	}
	return false
}

func (s *syncer) ask(ctx context.Context, g *giver) error {
	if !s.node.peers.usable(g.member.ID.Node()) {
		return errors.New("it does not answer")
	}
	callCtx, cancel := context.WithTimeout(ctx, min(firstPageTimeout<<g.tries, pageTimeout))
	defer cancel()
	g.tries = min(g.tries+1, 8)
	var page pageReply
	req := pageRequest{Epoch: s.epoch(), For: s.node.id.Bytes(), Which: whichNew, After: g.next, Limit: syncKeys}
	if err := s.node.mesh.Call(callCtx, g.member.ID.Node(), callPage, &req, &page); err != nil {
		return err
	}
	if page.More && page.Next <= g.next || !slices.IsSortedFunc(page.Copies, func(a, b copyNote) int { return strings.Compare(a.Key, b.Key) }) {
		return fmt.Errorf("a page after %q that ends with %q", g.next, page.Next)
	}
	if err := s.node.fences.receive(s.st, page.Fences); err != nil {
		return err
	}
	g.tries = 0
	s.work.Add(page.Scanned)
	g.notes, g.next, g.more, g.bound = page.Copies, page.Next, page.More, page.Bound
	g.scanned += page.Scanned
	g.total = max(page.Total, g.total, g.scanned)
	return nil
}

// reach returns the last key up to which every giver has told what it holds, and
// whether there is more after it.
func (s *syncer) reach(givers []*giver) (upTo string, more bool) {
	for _, g := range givers {
		if !g.gone && g.more && (!more || g.next < upTo) {
			upTo, more = g.next, true
		}
	}
	return upTo, more
}

// copyUpTo copies the keys up to one, or all that are left.
func (s *syncer) copyUpTo(ctx context.Context, givers []*giver, upTo string, more bool) error {
	newest := map[string]*newestCopy{}
	for i, g := range givers {
		if g.gone {
			g.notes = nil // what it told last does not reach as far as the others
			continue
		}
		n := 0
		for n < len(g.notes) && (!more || g.notes[n].Key <= upTo) {
			note := &g.notes[n]
			c := newest[note.Key]
			if c == nil || c.accepted.Less(note.accepted()) {
				c = &newestCopy{accepted: note.accepted(), from: i}
				newest[note.Key] = c
			}
			if c.accepted == note.accepted() {
				c.holders = append(c.holders, g.member.ID.Node())
			}
			n++
		}
		g.notes = g.notes[n:]
	}
	want := make([][]wanted, len(givers))
	for _, key := range slices.Sorted(maps.Keys(newest)) {
		c := newest[key]
		want[c.from] = append(want[c.from], wanted{key: key, accepted: c.accepted, chosen: s.chosen(key, c)})
	}
	for i, g := range givers {
		if len(want[i]) == 0 {
			continue
		}
		if err := s.take(ctx, g, want[i]); err != nil {
			return err
		}
	}
	return nil
}

// take takes cells from a giver, and goes on trying as long as it is there, since
// to begin anew costs another look at all keys.
func (s *syncer) take(ctx context.Context, g *giver, want []wanted) error {
	for {
		err := s.copier.takeWanted(ctx, g.member.ID.Node(), want)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("copying from %q: %w", g.member.Name, err)
		if ctx.Err() != nil || !s.node.peers.usable(g.member.ID.Node()) {
			return err
		}
		s.hold(err)
		if err := pause(ctx, syncPause); err != nil {
			return err
		}
	}
}

// newestCopy is the highest ballot at which a giver holds a key.
type newestCopy struct {
	accepted register.Ballot
	from     int
	holders  []ring.Node
}

// chosen reports whether a copy may be taken as it is: a majority holds it, or
// nobody decides anything but who copies.
func (s *syncer) chosen(key string, c *newestCopy) bool {
	if s.st.placement.Configuration().Forced {
		return true
	}
	g := s.st.placement.Group(key)
	var set uint16
	for _, h := range c.holders {
		if i := g.Index(h); i >= 0 {
			set |= 1 << i
		}
	}
	return g.Held(set)
}

func (s *syncer) epoch() uint64 { return s.st.placement.Configuration().Epoch }

func (s *syncer) hold(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = ""
	if err != nil {
		s.held = err.Error()
	}
}

// note notes how much is done: each giver is a part of the way.
func (s *syncer) note(givers []*giver) {
	part, n := 0.0, 0
	for _, g := range givers {
		switch {
		case g.gone:
			continue
		case !g.more:
			part++
		case g.total > 0:
			part += float64(g.scanned) / float64(g.total)
		}
		n++
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = ""
	if n > 0 {
		s.part = part / float64(n)
	}
}

// raise promises what those who gave have promised.
func (s *syncer) raise(ctx context.Context, givers []*giver) error {
	var bound uint64
	for _, g := range givers {
		if !g.gone {
			bound = max(bound, g.bound)
		}
	}
	for _, d := range s.st.drivers {
		_, result := d.begin(func(now register.Now, token uint64) { d.shard.Raise(now, token, bound) })
		select {
		case res := <-result:
			if res.Outcome != register.Done {
				return fmt.Errorf("promising what the others have: %v", res.Outcome)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// progress is how far the copying is.
func (s *syncer) progress() (p backend.SyncProgress, held string) {
	took := time.Since(s.began).Seconds()
	p = backend.SyncProgress{Keys: s.keys.Load(), Bytes: s.bytes.Load(), SecondsLeft: -1}
	if took > 0 {
		p.Rate = float64(p.Bytes) / took
	}
	if s.done.Load() {
		p.Done, p.SecondsLeft = 1, 0
		return p, ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Done = s.part
	if p.Done > 0 {
		p.SecondsLeft = took * (1 - p.Done) / p.Done
	}
	return p, s.held
}

// progressReply is how far a member is in a change of the ring.
type progressReply struct {
	Epoch  uint64
	Synced bool
	Sync   backend.SyncProgress
	// Work grows as long as the copying gets on.
	Work uint64
	// Held says why it does not.
	Held string
	// Clean: nothing is here any more that the member does not own.
	Clean bool
}

// onProgress answers how far this member is.
func (n *Node) onProgress() (*progressReply, error) {
	st, err := n.worksBy()
	if err != nil {
		return nil, err
	}
	reply := &progressReply{Epoch: st.placement.Configuration().Epoch, Clean: st.clean()}
	if s := n.reshaper.syncing(st); s != nil {
		reply.Synced = s.done.Load()
		reply.Sync, reply.Held = s.progress()
		reply.Work = s.work.Load()
	}
	return reply, nil
}

package chord

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// syncer copies, in a joint configuration, what this member is to own by New: of
// each key the highest cell that all but f of the Old members have.
type syncer struct {
	node   *Node
	st     *ringState
	limit  *rate.Limiter
	began  time.Time
	cancel context.CancelFunc
	done   atomic.Bool
	keys   atomic.Uint64
	bytes  atomic.Uint64

	mu sync.Mutex
	// givers is how far each Old member has given.
	givers map[ring.ID]*giver
	held   string // why it is held up
}

// giver is an Old member that is copied from.
type giver struct {
	next           string
	scanned, total uint64
	done           bool
	bound          uint64
}

// syncPause is how long a member waits before it asks again those that did not
// give everything.
const syncPause = 200 * time.Millisecond

func (s *syncer) epoch() uint64 { return s.st.placement.Configuration().Epoch }

// newSyncer begins to copy in a joint configuration.
func newSyncer(n *Node, st *ringState) *syncer {
	s := &syncer{node: n, st: st, limit: n.syncLimit, began: time.Now(), givers: map[ring.ID]*giver{}}
	for _, m := range st.placement.Configuration().Old.Members {
		if m.ID != n.id {
			s.givers[m.ID] = &giver{}
		}
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(n.ctx)
	n.wg.Go(func() { s.run(ctx) })
	return s
}

// run copies from every Old member until all but f have given everything.
func (s *syncer) run(ctx context.Context) {
	conf := s.st.placement.Configuration()
	if !inSide(&conf.New, s.node.id) {
		s.done.Store(true)
		return
	}
	faults := conf.Old.Faults()
	if conf.Forced {
		faults = 0 // there is no quorum that would have everything
	}
	for {
		missing := 0
		var held error
		for _, m := range conf.Old.Members {
			g := s.givers[m.ID]
			if g == nil || g.done {
				continue
			}
			if err := s.pull(ctx, m, g); err != nil {
				missing++
				held = fmt.Errorf("copying from %q: %w", m.Name, err)
			}
		}
		if missing <= faults {
			if held = s.raise(ctx); held == nil {
				break
			}
		}
		if ctx.Err() != nil {
			return
		}
		s.hold(held)
		select {
		case <-time.After(syncPause):
		case <-ctx.Done():
			return
		}
	}
	s.done.Store(true)
	s.hold(nil)
	s.node.log.Info("copied what this member is to own", "epoch", conf.Epoch, "keys", s.keys.Load(), "bytes", s.bytes.Load(), "took", time.Since(s.began).Round(time.Millisecond))
	s.node.reshaper.wake()
}

func (s *syncer) hold(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = ""
	if err != nil {
		s.held = err.Error()
	}
}

// raise promises what those who gave have promised.
func (s *syncer) raise(ctx context.Context) error {
	var bound uint64
	s.mu.Lock()
	for _, g := range s.givers {
		if g.done {
			bound = max(bound, g.bound)
		}
	}
	s.mu.Unlock()
	results := make([]<-chan register.Result, len(s.st.drivers))
	for i, d := range s.st.drivers {
		_, results[i] = d.begin(func(now register.Now, token uint64) { d.shard.Raise(now, token, bound) })
	}
	return s.node.adopted(ctx, results)
}

// pull takes everything that one Old member has for this one, from where it was
// left.
func (s *syncer) pull(ctx context.Context, from ring.Member, g *giver) error {
	c := copier{node: s.node, st: s.st, limit: s.limit, copied: func(keys, bytes int) {
		s.keys.Add(uint64(keys))
		s.bytes.Add(uint64(bytes))
	}}
	for {
		pageCtx, cancel := context.WithTimeout(ctx, pageTimeout)
		var page pageReply
		req := pageRequest{Epoch: s.epoch(), For: s.node.id.Bytes(), Which: whichNew, After: g.next}
		err := s.node.mesh.Call(pageCtx, from.ID.Node(), callPage, &req, &page)
		cancel()
		if err != nil {
			return err
		}
		if _, err := c.takeNewer(ctx, from.ID.Node(), page.Copies); err != nil {
			return err
		}
		s.mu.Lock()
		g.next, g.scanned, g.total = page.Next, g.scanned+page.Scanned, max(page.Total, g.scanned+page.Scanned)
		g.done, g.bound = !page.More, page.Bound
		s.mu.Unlock()
		if !page.More {
			return nil
		}
	}
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
	// Each giver is a part of the way; the last f of them need not be waited for.
	for _, g := range s.givers {
		switch {
		case g.done:
			p.Done += 1 / float64(len(s.givers))
		case g.total > 0:
			p.Done += min(float64(g.scanned)/float64(g.total), 1) / float64(len(s.givers))
		}
	}
	if p.Done > 0 {
		p.SecondsLeft = took * (1 - p.Done) / p.Done
	}
	return p, s.held
}

func inSide(s *ring.Side, id ring.ID) bool {
	for _, m := range s.Members {
		if m.ID == id {
			return true
		}
	}
	return false
}

// progressReply is how far a member is in a change of the ring.
type progressReply struct {
	Epoch  uint64
	Synced bool
	Sync   backend.SyncProgress
	// Held says why the copying does not go on; Failed why this member is of no use.
	Held string
}

// onProgress answers how far this member is.
func (n *Node) onProgress() (*progressReply, error) {
	st := n.ring.Load()
	if st == nil {
		return nil, &mesh.RemoteError{Code: codeNotReady, Message: "no ring yet"}
	}
	reply := &progressReply{Epoch: st.placement.Configuration().Epoch}
	if s := n.reshaper.syncing(st); s != nil {
		reply.Synced = s.done.Load()
		reply.Sync, reply.Held = s.progress()
	}
	return reply, nil
}

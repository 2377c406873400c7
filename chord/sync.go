package chord

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// syncer pulls, in a joint configuration, what this member is to own by New: of
// each key the highest cell that all but f of the Old members have.
type syncer struct {
	node   *Node
	st     *ringState
	cancel context.CancelFunc
	ended  chan struct{}
	keys   atomic.Uint64
	done   atomic.Bool
}

func (s *syncer) epoch() uint64 { return s.st.placement.Configuration().Epoch }

// pullRequest asks an Old member for one page of what the asker is to own.
type pullRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Epoch uint64
	For   []byte // the asker's ID
	After string
}

// pullReply is one page. Next is where the next begins; empty at the end.
type pullReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Keys  []string
	Cells [][]byte
	Next  string
	More  bool
}

// pullScan is how many cells a page looks at.
const pullScan = 1000

func (n *Node) onPull(ctx context.Context, req *pullRequest) (*pullReply, error) {
	st, err := n.owner(req.Epoch)
	if err != nil {
		return nil, err
	}
	id, err := ring.IDFromBytes(req.For)
	if err != nil {
		return nil, err
	}
	page, err := n.store.Scan(ctx, store.ScanOptions{After: req.After, Limit: pullScan, Bytes: scanBytes, Values: true, Internal: true})
	if err != nil {
		return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
	}
	reply := &pullReply{More: page.More}
	for i := range page.Cells {
		c := &page.Cells[i]
		reply.Next = c.Key
		if c.Key != voteKey && st.placement.OwnsNew(id, c.Key) {
			reply.Keys = append(reply.Keys, c.Key)
			reply.Cells = append(reply.Cells, register.AppendCell(nil, &c.Cell))
		}
	}
	return reply, nil
}

// startSync begins to sync in a joint configuration, if it is not under way.
func (r *reshaper) startSync(st *ringState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sync != nil && r.sync.st == st {
		return
	}
	if r.sync != nil {
		r.sync.cancel()
	}
	ctx, cancel := context.WithCancel(r.node.ctx)
	s := &syncer{node: r.node, st: st, cancel: cancel, ended: make(chan struct{})}
	r.sync = s
	r.node.wg.Go(func() {
		defer close(s.ended)
		s.run(ctx)
	})
}

func (r *reshaper) stopSync() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sync != nil {
		r.sync.cancel()
		r.sync = nil
	}
}

// run pulls from every Old member until all but f have given everything.
func (s *syncer) run(ctx context.Context) {
	conf := s.st.placement.Configuration()
	self, inNew := ring.Member{}, false
	for _, m := range conf.New.Members {
		if m.ID == s.node.id {
			self, inNew = m, true
		}
	}
	if !inNew {
		s.done.Store(true)
		return
	}
	pulled := map[ring.ID]bool{s.node.id: true}
	for ctx.Err() == nil {
		missing := 0
		for _, m := range conf.Old.Members {
			if pulled[m.ID] {
				continue
			}
			if err := s.pull(ctx, m, self); err != nil {
				missing++
				s.node.log.Debug("copying is held up", "from", m.Name, "error", err)
				continue
			}
			pulled[m.ID] = true
		}
		if missing <= conf.Old.Faults() {
			s.done.Store(true)
			s.node.log.Info("copied what this member is to own", "epoch", conf.Epoch, "cells", s.keys.Load())
			s.node.reshaper.wake()
			return
		}
		select {
		case <-time.After(reshapeInterval):
		case <-ctx.Done():
		}
	}
}

// pull takes everything that one Old member has for this one.
func (s *syncer) pull(ctx context.Context, from, self ring.Member) error {
	after := ""
	for {
		pageCtx, cancel := context.WithTimeout(ctx, reshapeTimeout)
		var reply pullReply
		req := pullRequest{Epoch: s.epoch(), For: self.ID.Bytes(), After: after}
		err := s.node.mesh.Call(pageCtx, from.ID.Node(), callPull, &req, &reply)
		cancel()
		if err != nil {
			return err
		}
		if err := s.adopt(ctx, &reply); err != nil {
			return err
		}
		if !reply.More {
			return nil
		}
		after = reply.Next
	}
}

// adopt takes a page of cells and waits until all are durable, or settled.
func (s *syncer) adopt(ctx context.Context, page *pullReply) error {
	if len(page.Keys) != len(page.Cells) {
		return fmt.Errorf("%d keys with %d cells", len(page.Keys), len(page.Cells))
	}
	results := make([]<-chan register.Result, len(page.Keys))
	for i, key := range page.Keys {
		cell, err := register.DecodeCell(page.Cells[i])
		if err != nil {
			return err
		}
		d := s.node.driver(s.st, key)
		_, results[i] = d.begin(func(now register.Now, token uint64) { d.shard.Adopt(now, token, s.epoch(), key, cell) })
	}
	for i, result := range results {
		select {
		case res := <-result:
			if res.Outcome != register.Done {
				return fmt.Errorf("key %q: %v", page.Keys[i], res.Outcome)
			}
			s.keys.Add(1)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

package chord

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// A node at which somebody watches asks every member, by a call that waits, which
// keys became durable there. A change that was acknowledged is durable at a quorum
// of the key's owners, so one of the others names it although as many members as
// a quorum can do without are silent. What is named is read, linearizably, after it
// was named, so the last read sees the last change.

const (
	// feedWait is how long a member waits for something to tell.
	feedWait = 20 * time.Second
	// feedTimeout bounds the call.
	feedTimeout = feedWait + 5*time.Second
	// feedGather is how long it gathers what follows a change, so that many changes
	// travel at a time.
	feedGather = 2 * time.Millisecond
	// feedKeys is how many keys one answer names; beyond it, it names none and says
	// that anything may have changed.
	feedKeys = 4000
	// feedPrefixes is how many prefixes a question names; beyond it, it names none
	// and is told everything.
	feedPrefixes = 64
	// feedPause is how long a node waits before it asks a member again that did not
	// answer.
	feedPause = 200 * time.Millisecond
)

// feedRequest asks which keys became durable after a counter. With Begin it asks
// for the counter alone.
type feedRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Begin    bool
	Since    uint64
	Prefixes []string // empty: all keys
}

// feedReply names the keys. With Lost anything may have changed.
type feedReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Keys    []string
	Counter uint64
	Lost    bool
}

func (n *Node) onFeed(ctx context.Context, req *feedRequest) (*feedReply, error) {
	switch {
	case n.store == nil:
		return nil, &mesh.RemoteError{Code: codeNotReady, Message: "owns no keys"}
	case len(req.Prefixes) > feedPrefixes:
		return nil, fmt.Errorf("%d prefixes; at most %d are asked about at a time", len(req.Prefixes), feedPrefixes)
	case req.Begin:
		return &feedReply{Counter: n.store.Counter()}, nil
	}
	end := time.NewTimer(feedWait)
	defer end.Stop()
	gather := time.NewTimer(feedGather)
	defer gather.Stop()
	for since := req.Since; ; {
		changed := n.store.Changed() // before the look, so that nothing slips between
		reply := n.changedSince(since, req.Prefixes)
		if reply.Lost || len(reply.Keys) > 0 {
			return reply, nil
		}
		since = reply.Counter
		select {
		case <-changed:
		case <-end.C:
			return reply, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-n.ctx.Done():
			return nil, n.ctx.Err()
		}
		gather.Reset(feedGather)
		select {
		case <-gather.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-n.ctx.Done():
			return nil, n.ctx.Err()
		}
	}
}

// changedSince names the keys under any of the prefixes that became durable here
// after a counter.
func (n *Node) changedSince(since uint64, prefixes []string) *feedReply {
	if len(prefixes) == 0 {
		prefixes = []string{""}
	}
	reply := &feedReply{}
	for i, prefix := range prefixes {
		keys, counter, ok := n.store.Changes(prefix, "", since)
		if i == 0 {
			reply.Counter = counter // what comes between two looks is told again
		}
		if !ok || len(reply.Keys)+len(keys) > feedKeys {
			return &feedReply{Counter: reply.Counter, Lost: true}
		}
		reply.Keys = append(reply.Keys, keys...)
	}
	return reply
}

// follow asks one member for what changes there, until ctx ends. Each time it has
// begun, or may have missed something, all that is watched is read again.
func (w *watching) follow(ctx context.Context, member ring.Node) {
	pause := time.NewTimer(feedPause)
	defer pause.Stop()
	begun, failed := false, false
	for since := uint64(0); ctx.Err() == nil; {
		filter := w.filtered()
		reply, err := w.ask(ctx, member, filter, &feedRequest{Begin: !begun, Since: since, Prefixes: filter.prefixes})
		switch {
		case filter.replaced.Err() != nil:
			// What was not asked for may have been passed over: ask again from the
			// same place.
			continue
		case err != nil:
			w.node.log.Trace("a member does not tell what changes", "member", member, "error", err)
			if begun && !failed {
				// What it had accepted may have been chosen, and nobody else tells of it.
				w.soilAll()
			}
			failed = true
			pause.Reset(feedPause)
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			continue
		}
		since, failed = reply.Counter, false
		if !begun || reply.Lost {
			begun = true
			w.soilAll()
		}
		w.soilKeys(reply.Keys)
	}
}

// ask asks a member until it answers or the filter is replaced.
func (w *watching) ask(ctx context.Context, member ring.Node, filter *filter, req *feedRequest) (*feedReply, error) {
	ctx, cancel := context.WithTimeout(ctx, feedTimeout)
	defer cancel()
	defer context.AfterFunc(filter.replaced, cancel)()
	return askMember(ctx, w.node, member, callFeed, req, w.node.onFeed)
}

// filter is what members are asked to tell of. It is replaced when somebody
// watches what it leaves out.
type filter struct {
	prefixes []string // empty: everything
	replaced context.Context
	replace  context.CancelFunc
}

func newFilter(prefixes []string) *filter {
	if len(prefixes) > feedPrefixes {
		prefixes = nil
	}
	f := &filter{prefixes: prefixes}
	f.replaced, f.replace = context.WithCancel(context.Background())
	return f
}

// tells reports whether changes of all that begins with name are told.
func (f *filter) tells(name string) bool {
	return len(f.prefixes) == 0 || slices.ContainsFunc(f.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

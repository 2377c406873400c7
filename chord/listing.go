package chord

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/txn"
)

// listing is one try to list. See list.go.
type listing struct {
	poll
	q backend.ListQuery
	// alike, if set, reports whether two values of a key look the same, so that
	// the one may have become the other while the listing was made.
	alike func(a, b *register.Value) bool

	// mayHush allows the listing to ask for quiet, which it does for as long as quiet;
	// at once where it is tried again.
	mayHush, again bool
	quiet          time.Duration

	// from is where the scan began, upTo how far every member's answers reach;
	// ended: to the end of the prefix.
	from  string
	upTo  string
	ended bool
	// until, unless empty, is the last key of the range, as though no more were
	// under the prefix.
	until string
	// answers by member, of those that take part.
	answers map[ring.Node]*memberAnswer
	// settled are the keys so far on which a quorum agrees, sorted; open are the
	// others.
	settled []known
	open    map[string]bool
	// unsettled counts the rounds in which the owners of a key differed.
	unsettled map[string]int
	skipped   []skippedPart
	// viewed is what there is at the listing's moment; see view.
	viewed []known
	// before is what the keys were that the last refresh returned; zero for nothing.
	before map[string]heldCell
	// states are those of the transactions whose intents are in settled; see decide.
	states map[txn.ID]register.State
	// orphans are the keys with the intent of a transaction that had no status any more.
	orphans map[string]txn.ID
}

// memberAnswer is what one member holds, as far as it was scanned.
type memberAnswer struct {
	counter uint64
	cells   map[string]heldCell
}

type heldCell struct {
	cell  register.Cell
	whole bool
}

// errUnsettled: begin anew. errMissing: too few members answer; begin anew.
var (
	errUnsettled = errors.New("the listing did not settle")
	errMissing   = errors.New("too few members answer")
)

func newListing(n *Node, st *ringState, q backend.ListQuery) *listing {
	l := &listing{poll: newPoll(n, st, q.Prefix), q: q, answers: map[ring.Node]*memberAnswer{}, open: map[string]bool{}, unsettled: map[string]int{}}
	l.from = q.After
	if q.Separator != "" && strings.HasSuffix(q.After, q.Separator) {
		if name, folded := q.Fold(q.After); folded && name == q.After {
			l.from = q.After + "\xff" // above every key of the folded group
		}
	}
	l.upTo = l.from
	return l
}

func (l *listing) run(ctx context.Context) (*backend.ListResult, error) {
	began := time.Now()
	for {
		if err := l.scan(ctx); err != nil {
			return nil, err
		}
		res, full := l.fold(l.settled)
		if l.ended || full {
			break
		}
		l.skip(res)
	}
	defer l.loud()
	asked := time.Since(began)
	for round := range maxListRounds {
		last := began
		if began = time.Now(); l.mayHush && (round >= quietAfter || l.again) {
			l.quiet = quietFor(began.Sub(last), asked)
		}
		again, err := l.decide(ctx)
		if err != nil {
			return nil, err
		}
		asking := time.Now()
		moves, err := l.refresh(ctx)
		if err != nil {
			return nil, err
		}
		asked = time.Since(asking)
		moved, err := l.view(ctx, moves, again)
		if err != nil {
			return nil, err
		}
		res, full := l.fold(l.viewed)
		if !full && !l.ended {
			return nil, errUnsettled // deletions made room: scan further
		}
		if l.stands(res, full, moved) {
			return res, l.fetchMissing(ctx, res)
		}
		if err := l.settle(ctx); err != nil {
			return nil, err
		}
	}
	return nil, errUnsettled
}

// stands reports whether the keys that moved leave the result as it is, and
// every group of which a part was not scanned is still in it.
func (l *listing) stands(res *backend.ListResult, full bool, moved map[string]bool) bool {
	in := func(name string) bool {
		if full && name > res.Items[len(res.Items)-1].Name {
			return true // beyond the page
		}
		_, ok := slices.BinarySearchFunc(res.Items, name, func(it backend.ListItem, name string) int {
			return strings.Compare(it.Name, name)
		})
		return ok
	}
	for key := range moved {
		name, folded := l.q.Fold(key)
		switch {
		case name <= l.q.After && l.q.After != "":
		case folded && in(name):
		case !folded && full && name > res.Items[len(res.Items)-1].Name:
		default:
			return false
		}
	}
	for _, s := range l.skipped {
		if !in(s.group) {
			return false
		}
	}
	return true
}

// scan asks every member for its next page and moves upTo.
func (l *listing) scan(ctx context.Context) error {
	req := scanRequest{
		Epoch: l.st.placement.Configuration().Epoch, Prefix: l.q.Prefix, After: l.upTo, Values: l.q.Values, Limit: l.pageSize(),
	}
	for _, m := range l.members {
		if !l.node.peers.usable(m) {
			req.Down = append(req.Down, m)
		}
	}
	ask, enough := l.members, l.enough()
	if len(l.answers) > 0 {
		ask = slices.Collect(maps.Keys(l.answers)) // the same members to the end
		enough = len(ask)
	}
	replies, err := gather(ctx, &l.poll, ask, enough, func(ctx context.Context, m ring.Node) (*scanReply, error) {
		return askMember(ctx, l.node, m, callScan, &req, l.node.onScan)
	})
	if err != nil {
		return err
	}
	l.ended = true
	upTo := ""
	for _, reply := range replies {
		if !reply.More {
			continue
		}
		if len(reply.Cells) == 0 {
			return backend.Errorf(backend.Internal, l.q.Prefix, "a member answered a listing with an empty page and more to come")
		}
		last := reply.Cells[len(reply.Cells)-1].Key
		if l.ended || last < upTo {
			upTo = last
		}
		l.ended = false
	}
	l.upTo = upTo
	l.ended = l.ended || l.until != "" && upTo >= l.until
	first := len(l.answers) == 0
	for m := range l.answers {
		if replies[m] == nil {
			return errUnsettled // one that took part no longer answers
		}
	}
	var keys []string
	for m, reply := range replies {
		a := l.answers[m]
		if first {
			a = &memberAnswer{counter: reply.Counter, cells: map[string]heldCell{}}
			l.answers[m] = a
		}
		for i := range reply.Cells {
			c := &reply.Cells[i]
			if l.beyond(c.Key) {
				break // where not all have answered so far it comes again
			}
			if err := a.take(c); err != nil {
				return err
			}
			keys = append(keys, c.Key)
		}
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		l.judge(key)
	}
	return nil
}

// beyond reports whether a key is above what was scanned so far, or the range.
func (l *listing) beyond(key string) bool {
	return !l.ended && key > l.upTo || l.until != "" && key > l.until
}

// pageSize is how many cells to ask for at a time.
func (l *listing) pageSize() int {
	if l.q.Limit > 0 && l.q.Separator == "" {
		return min(l.q.Limit+l.q.Limit/4+8, 4000)
	}
	return 4000
}

func (a *memberAnswer) take(c *scanCell) error {
	cell, err := register.DecodeCell(c.Cell)
	if err != nil {
		return backend.Errorf(backend.Internal, c.Key, "a member answered a listing with %w", err)
	}
	a.cells[c.Key] = heldCell{cell, c.Whole}
	return nil
}

// skip moves the scan past a folded group that is already in the result.
func (l *listing) skip(res *backend.ListResult) {
	if len(res.Items) == 0 {
		return
	}
	last := res.Items[len(res.Items)-1]
	if last.Folded && strings.HasPrefix(l.upTo, last.Name) {
		l.skipped = append(l.skipped, skippedPart{group: last.Name, after: l.upTo})
		l.upTo = last.Name + "\xff"
	}
}

// skippedPart is the rest of a folded group, above a key, that was not scanned.
type skippedPart struct{ group, after string }

// wasSkipped reports whether the key lies in a part that was not scanned.
func (l *listing) wasSkipped(key string) bool {
	return slices.ContainsFunc(l.skipped, func(s skippedPart) bool {
		return key > s.after && strings.HasPrefix(key, s.group)
	})
}

// known is one key on which a quorum agrees.
type known struct {
	key  string
	cell heldCell
}

// known returns the cell of a settled key.
func (l *listing) known(key string) (heldCell, bool) {
	i, there := slices.BinarySearchFunc(l.settled, key, func(k known, key string) int { return strings.Compare(k.key, key) })
	if !there {
		return heldCell{}, false
	}
	return l.settled[i].cell, true
}

// judge looks whether a quorum agrees on a key, after an answer about it.
func (l *listing) judge(key string) {
	i, there := len(l.settled), false
	if i > 0 && key <= l.settled[i-1].key {
		i, there = slices.BinarySearchFunc(l.settled, key, func(k known, key string) int { return strings.Compare(k.key, key) })
	}
	cell, ok := l.agreed(key)
	switch {
	case !ok:
		l.open[key] = true
		if there {
			l.settled = slices.Delete(l.settled, i, i+1)
		}
		return
	case there:
		l.settled[i].cell = cell
	default:
		l.settled = slices.Insert(l.settled, i, known{key, cell})
	}
	delete(l.open, key)
}

// agreed returns the cell that a quorum of the key's owners reported.
func (l *listing) agreed(key string) (heldCell, bool) {
	g := l.st.placement.Group(key)
	var replied uint16
	var held [ring.MaxGroup]heldCell
	for i, o := range g.Owners() {
		if a := l.answers[o]; a != nil {
			replied |= 1 << i
			held[i] = a.cells[key]
		}
	}
	for i := range g.Len() {
		if replied>>i&1 == 0 {
			continue
		}
		var same uint16
		best := held[i]
		for j := range g.Len() {
			if replied>>j&1 == 1 && held[j].cell.Accepted == held[i].cell.Accepted {
				same |= 1 << j
				if held[j].whole {
					best = held[j]
				}
			}
		}
		if g.Quorum(same) {
			return best, true
		}
	}
	return heldCell{}, false
}

// fold makes the result of sorted keys; full reports that the limit was reached.
func (l *listing) fold(keys []known) (res *backend.ListResult, full bool) {
	res = &backend.ListResult{}
	for i := range keys {
		k := &keys[i]
		v := l.shown(&k.cell.cell.Value)
		res.Index = max(res.Index, v.Stamp())
		if !v.Live {
			continue
		}
		name, folded := l.q.Fold(k.key)
		if name <= l.q.After && l.q.After != "" {
			continue
		}
		if folded && len(res.Items) > 0 && res.Items[len(res.Items)-1].Name == name {
			continue
		}
		if l.q.Limit > 0 && len(res.Items) == l.q.Limit {
			res.More = true
			return res, true
		}
		item := backend.ListItem{Name: name, Folded: folded}
		if l.q.Values && !folded {
			item.Entry = entry(k.key, v)
			if !k.cell.whole {
				item.Entry.Value = nil // fetchMissing sees to it
			}
		}
		res.Items = append(res.Items, item)
	}
	return res, false
}

// settle reads, one by one, the keys on which the owners have differed for some
// rounds: nobody may be about to finish the write.
func (l *listing) settle(ctx context.Context) error {
	var stuck []string
	for key := range l.open {
		if l.unsettled[key]++; l.unsettled[key] >= unsettledRounds {
			l.unsettled[key] = 0
			stuck = append(stuck, key)
		}
	}
	return eachOf(len(stuck), func(i int) error {
		key := stuck[i]
		_, err := l.node.run(ctx, l.node.driver(l.st, key), key, func(d *driver, now register.Now, token uint64) {
			d.shard.Submit(now, token, key, register.Change{Kind: register.Identity}, timeout(ctx))
		})
		return err
	})
}

// fetchMissing reads the values that no member sent along. A value that has
// changed since would tear the snapshot.
func (l *listing) fetchMissing(ctx context.Context, res *backend.ListResult) error {
	var missing []*backend.ListItem
	for i := range res.Items {
		if e := res.Items[i].Entry; e != nil && e.Value == nil {
			missing = append(missing, &res.Items[i])
		}
	}
	return eachOf(len(missing), func(i int) error {
		e := missing[i].Entry
		v, err := l.node.seen(ctx, e.Key, false)
		if err != nil {
			return err
		}
		if v.Index() != e.ModifyIndex {
			return errUnsettled
		}
		missing[i].Entry = ownEntry(e.Key, &v)
		return nil
	})
}

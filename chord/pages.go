package chord

import (
	"context"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// Members compare and copy what they hold in pages: first which keys there are
// and at which ballot they were accepted, then the cells of those that differ.
// Copying at a ring change, anti-entropy and verification use the same questions.

// which cells a page shows.
type which uint8

const (
	// whichAll shows all.
	whichAll which = iota
	// whichNew shows those that the asker is to own by New.
	whichNew
	// whichBoth shows those that the asker owns too.
	whichBoth
)

// pageRequest asks a member for one page of what it holds.
type pageRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Epoch uint64
	For   []byte // the asker's ID
	Which which
	// After is the key after which the page begins. UpTo, if not empty, is the last
	// one that it may hold. Limit is the most keys to look at.
	After, UpTo string
	Limit       int
	// Keys, if not empty, are the only keys to look at, in order; at most maxPageLimit.
	Keys []string
}

// pageReply is one page. Next is the last key that was looked at; More says that
// there are keys after it.
type pageReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Copies []copyNote
	Next   string
	More   bool
	// Scanned is how many keys were looked at, of the Total that the member holds,
	// roughly, which the first page says.
	Scanned, Total uint64
	// Bound is a timestamp that nothing is above which this member has promised in
	// an epoch before; see register.Shard.Raise.
	Bound uint64
	// Fences are the member's, on the first page and the last.
	Fences carried
}

// copyNote says what a member accepted for a key.
type copyNote struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Key  string
	Time uint64
	Node ring.Node
	// Live: it is no tombstone. The intent of a transaction may be all that is there.
	Live bool
}

func (c *copyNote) accepted() register.Ballot { return register.Ballot{Time: c.Time, Node: c.Node} }

const (
	// pageLimit is how many keys a page looks at where the asker names no number.
	pageLimit = 1000
	// maxPageLimit bounds what an asker may name.
	maxPageLimit = 10000
	// pageTimeout bounds one question about a page.
	pageTimeout = 10 * time.Second
)

func (n *Node) onPage(ctx context.Context, req *pageRequest) (*pageReply, error) {
	st, err := n.owner(req.Epoch)
	if err != nil {
		return nil, err
	}
	id, err := ring.IDFromBytes(req.For)
	if err != nil {
		return nil, err
	}
	limit := req.Limit
	if limit <= 0 || limit > maxPageLimit {
		limit = pageLimit
	}
	var page store.ScanResult
	if len(req.Keys) > 0 {
		page, err = n.cellsOf(ctx, req.Keys)
	} else {
		page, err = n.store.Scan(ctx, store.ScanOptions{After: req.After, Limit: limit, Internal: true})
	}
	if err != nil {
		return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
	}
	reply := &pageReply{More: page.More, Next: req.After}
	for i := range page.Cells {
		c := &page.Cells[i]
		if req.UpTo != "" && c.Key > req.UpTo {
			reply.More = false
			break
		}
		reply.Next = c.Key
		reply.Scanned++
		if c.Key == voteKey || req.Which == whichNew && !st.placement.OwnsNew(id, c.Key) || req.Which == whichBoth && !st.placement.Owns(id, c.Key) {
			continue
		}
		reply.Copies = append(reply.Copies, copyNote{Key: c.Key, Time: c.Cell.Accepted.Time, Node: c.Cell.Accepted.Node, Live: !c.Cell.Value.IsTombstone()})
	}
	if !reply.More {
		for _, d := range st.drivers {
			d.input(func(register.Now) { reply.Bound = max(reply.Bound, d.shard.Bound()) })
		}
	}
	if req.After == "" || !reply.More {
		reply.Fences = n.fences.carry()
	}
	if req.Which == whichNew && req.After == "" { // it reads the properties of every table
		if stats, err := n.store.Stats(); err == nil {
			reply.Total = stats.Cells
		}
	}
	// The epoch may have changed while the page was read, and what was read then
	// counts for neither.
	if _, err := n.owner(req.Epoch); err != nil {
		return nil, err
	}
	return reply, nil
}

// cellsOf is a page of named keys alone, without what their values hold.
func (n *Node) cellsOf(ctx context.Context, keys []string) (page store.ScanResult, err error) {
	if len(keys) > maxPageLimit {
		return page, fmt.Errorf("%d keys; at most %d are looked at for a page", len(keys), maxPageLimit)
	}
	for _, key := range keys {
		cell, ok, err := n.store.Load(key)
		if err != nil {
			return page, err
		}
		if ok {
			cell.Value.DropData()
			page.Cells = append(page.Cells, store.KeyCell{Key: key, Cell: cell})
		}
	}
	return page, n.loadedIsDurable(ctx)
}

// cellsRequest asks a member for whole cells.
type cellsRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Epoch uint64
	Keys  []string
}

// cellsReply holds the cells of the first of the keys, as many as fit; a cell
// that is gone is empty.
type cellsReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Cells  [][]byte
	Fences carried
}

// cellsBytes bounds the cells in one answer, which has one at least.
const cellsBytes = 64 << 10

func (n *Node) onCells(ctx context.Context, req *cellsRequest) (*cellsReply, error) {
	st, err := n.owner(req.Epoch)
	if err != nil {
		return nil, err
	}
	if len(req.Keys) > adoptKeys {
		return nil, fmt.Errorf("%d keys; at most %d cells are given at a time", len(req.Keys), adoptKeys)
	}
	reply := &cellsReply{}
	size := 0
	for _, key := range req.Keys {
		cell, ok, err := n.store.Load(key)
		if err != nil {
			return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
		}
		var b []byte
		if ok {
			d := n.driver(st, key)
			d.input(func(register.Now) { d.shard.Clean(&cell.Value) })
			b = register.AppendCell(nil, &cell)
		}
		if size += len(b); size > cellsBytes && len(reply.Cells) > 0 {
			break
		}
		reply.Cells = append(reply.Cells, b)
	}
	if err := n.loadedIsDurable(ctx); err != nil {
		return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
	}
	reply.Fences = n.fences.carry()
	return reply, nil
}

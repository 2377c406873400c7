package chord

import (
	"context"
	"errors"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// A listing asks every member for what it holds. These are the questions, and a
// member's answers.

// scanRequest asks for one page of cells.
type scanRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Epoch         uint64
	Prefix, After string
	Limit         int
	// Values asks for data, which a member sends of those keys of which it is the
	// first owner that is not in Down; one copy is enough.
	Values bool
	Down   []ring.Node
}

// scanReply is one page, tombstones included.
type scanReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Cells   []scanCell
	More    bool
	Counter uint64
}

// scanCell is what a member accepted for a key.
type scanCell struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Key string
	// Cell is encoded as register.AppendCell does; without its data unless Whole.
	Cell  []byte
	Whole bool
}

// changesRequest asks what became durable since a counter.
type changesRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Epoch         uint64
	Prefix, After string
	Since         uint64
	Values        bool
	// Quiet, if positive, is for how long to keep quiet under the prefix; see quiet.go.
	// If negative it is the end of that, and the answer is empty.
	Quiet time.Duration
}

// changesReply holds the changed keys' cells as they are now. OK is false when
// the member no longer knows what changed.
type changesReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Cells   []scanCell
	Counter uint64
	OK      bool
}

const (
	// scanBytes bounds the data in one page, so that it fits a frame.
	scanBytes = 4 << 20
	// maxChanges is how many changed keys are worth sending; beyond it the
	// listing starts again.
	maxChanges = 4000
)

func (n *Node) onScan(ctx context.Context, req *scanRequest) (*scanReply, error) {
	st, err := n.owner(req.Epoch)
	if err != nil {
		return nil, err
	}
	page, err := n.store.Scan(ctx, store.ScanOptions{Prefix: req.Prefix, After: req.After, Limit: req.Limit, Bytes: scanBytes, Values: req.Values})
	if err != nil {
		return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
	}
	reply := &scanReply{More: page.More, Counter: page.Counter, Cells: make([]scanCell, len(page.Cells))}
	for i := range page.Cells {
		c := &page.Cells[i]
		whole := req.Values && n.sendsData(st, c.Key, req.Down)
		reply.Cells[i] = encodeScanCell(c.Key, &c.Cell, whole)
	}
	// What was written in a later epoch need not be here any more.
	if _, err := n.owner(req.Epoch); err != nil {
		return nil, err
	}
	return reply, nil
}

// sendsData reports whether this node is the first owner of key that is not down.
func (n *Node) sendsData(st *ringState, key string, down []ring.Node) bool {
	g := st.placement.Group(key)
	for _, o := range g.Owners() {
		if o == n.id.Node() {
			return true
		}
		isDown := false
		for _, d := range down {
			isDown = isDown || d == o
		}
		if !isDown {
			return false
		}
	}
	return false
}

func encodeScanCell(key string, c *register.Cell, whole bool) scanCell {
	cell := *c
	if !whole {
		cell.Value.DropData()
	}
	// Nobody needs the whole past of a listed key, nor what it was.
	cell.Value.Tags, cell.Value.Undo = nil, nil
	if len(cell.Value.Lineage) > 1 {
		cell.Value.Lineage = cell.Value.Lineage[:1]
	}
	return scanCell{Key: key, Cell: register.AppendCell(nil, &cell), Whole: whole}
}

func (n *Node) onChanges(ctx context.Context, req *changesRequest) (*changesReply, error) {
	if _, err := n.owner(req.Epoch); err != nil {
		return nil, err
	}
	if req.Quiet != 0 {
		n.quiet.ask(req.Prefix, req.Quiet)
	}
	if req.Quiet < 0 {
		return &changesReply{}, nil
	}
	keys, counter, ok := n.store.Changes(req.Prefix, req.After, req.Since)
	if !ok || len(keys) > maxChanges {
		return &changesReply{}, nil
	}
	reply := &changesReply{Counter: counter, OK: true}
	size := 0
	for _, key := range keys {
		cell, _, err := n.store.Load(key)
		if err != nil {
			return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
		}
		sc := encodeScanCell(key, &cell, req.Values)
		if size += len(sc.Cell); size > scanBytes {
			return &changesReply{}, nil
		}
		reply.Cells = append(reply.Cells, sc)
	}
	if len(keys) > 0 {
		if err := n.loadedIsDurable(ctx); err != nil {
			return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
		}
	}
	if _, err := n.owner(req.Epoch); err != nil { // as of a scan
		return nil, err
	}
	return reply, nil
}

// loadedIsDurable waits until what was loaded from the store before is durable.
func (n *Node) loadedIsDurable(ctx context.Context) error {
	done := make(chan error, 1)
	n.store.Barrier(func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("the disk did not sync in time")
	}
}

// inspectReply is what an owner holds of a key.
type inspectReply struct {
	Ballot string
	Index  uint64
	Live   bool
}

func (n *Node) onInspect(ctx context.Context, key string) (*inspectReply, error) {
	st := n.ring.Load()
	if st == nil || !st.member {
		return nil, &mesh.RemoteError{Code: codeNotReady, Message: "owns no keys"}
	}
	cell, _, err := n.store.Load(key)
	if err == nil {
		err = n.loadedIsDurable(ctx)
	}
	if err != nil {
		return nil, &mesh.RemoteError{Code: codeStore, Message: err.Error()}
	}
	return &inspectReply{Ballot: cell.Accepted.String(), Index: cell.Value.Index(), Live: cell.Value.Live}, nil
}

package chord

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord/register"
)

// A listing is one atomic snapshot. The node asks every member for its cells
// under the prefix; a key is known once a quorum of its owners says that it
// accepted the same ballot. Then it asks the same members what has become
// durable since their answers. A key that none of them names had its value at
// the moment before the first of those questions was sent: the quorum that
// reported it held it then. When that covers all that the result is made of, the
// result was true at that moment; a key that did change matters not if it folds
// into a group of which another key stood still. Else the changes are put in and
// the question is asked again, a bounded number of times.
//
// A key may have the intent of a transaction. What it holds is then what the
// transaction's status says: those are read, all as of one moment, between the
// answers and the question what has changed, and that moment is the listing's. A
// transaction that was pending then has been told, so that it checks anew what it
// read. One without a status has just ended; its keys count as changed.
//
// So it is with keys that sessions hold: those are read after that moment, and one
// that lives then lived at it. From one that does not the key is released, and
// counts as changed.

const (
	// maxListRounds bounds the questions of one try, maxListTries the tries.
	maxListRounds = 24
	maxListTries  = 4
	// unsettledRounds is how many rounds the owners of a key may differ (a write
	// may be on its way) before the listing settles it with a read of its own.
	unsettledRounds = 3
)

// List implements backend.Backend. A listing that other writers under the prefix
// never let settle ends with Conflict.
func (n *Node) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	if err := n.limits.CheckList(q); err != nil {
		return nil, err
	}
	return n.list(ctx, q, true, nil)
}

// list is List, also of internal keys; see listing for mayHush and alike.
func (n *Node) list(ctx context.Context, q backend.ListQuery, mayHush bool, alike func(a, b *register.Value) bool) (*backend.ListResult, error) {
	var st *ringState
	var err error
	heard, patience := 0, participantTimeout
	for try := 0; try < maxListTries; try++ {
		if st, err = n.serving(ctx, q.Prefix); err != nil { // the ring may have changed
			return nil, err
		}
		l := newListing(n, st, q)
		l.heard, l.patience, l.mayHush, l.again, l.alike = heard, patience, mayHush, try > 0, alike
		var res *backend.ListResult
		res, err = l.run(ctx)
		if err == nil {
			return res, nil
		}
		heard = l.heard
		if err == errMissing {
			try-- // the caller's deadline ends it
			patience = min(2*patience, maxParticipantTimeout)
			continue
		}
		if err != errUnsettled {
			return nil, err
		}
		if pause(ctx, time.Duration(rand.IntN(4<<try)+1)*time.Millisecond) != nil {
			return nil, l.noAnswer(ctx, len(l.answers))
		}
	}
	return nil, backend.Errorf(backend.Conflict, q.Prefix, "the keys under this prefix kept changing while they were listed; try again, or list a smaller part")
}

package chord

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// comparison brings this member and another one into line, in both directions:
// range by range in key order it compares digests of what both own; where they
// differ, which keys there are and at which ballots; and then the cells travel
// (Dynamo, section 4.7, with ranges of keys in place of Merkle trees, since the
// keys are sorted on both disks and nothing has to be kept up to date).
type comparison struct {
	node  *Node
	st    *ringState
	with  ring.Member
	limit *rate.Limiter
	// behind: one of the two came back, and there is more to bring than what is under way.
	behind bool
	// scanned counts the keys of this member that were looked at.
	scanned uint64
	// ranges were compared, and so many of them differed.
	ranges, differing int
	// received and given count the cells that were mended on either side; left are
	// those that could not be settled.
	received, given, left int
}

const (
	// rangeKeys is how many keys a range has at the member that is asked.
	rangeKeys = 1000
	// underWay is how young a ballot is whose Accepts may still be on their way, and
	// underWayPause how long to wait before a second look.
	underWay      = 2 * time.Second
	underWayPause = 100 * time.Millisecond
	// writtenRest is how long a comparison rests after a part of a range in which all
	// differences were writes under way. Under a load there are always some, and
	// looking at them takes away from who writes; so that of what is written all the
	// time rangeKeys are compared a second. Where something is lacking it does not rest.
	writtenRest = time.Second
)

func (c *comparison) epoch() uint64 { return c.st.placement.Configuration().Epoch }

func (c *comparison) call(ctx context.Context, t mesh.Type, req, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	return c.node.mesh.Call(ctx, c.with.ID.Node(), t, req, reply)
}

// next compares the range after a key, and brings it into line. It returns where
// the next one begins, if there is more.
func (c *comparison) next(ctx context.Context, after string) (upTo string, more bool, err error) {
	var theirs digestReply
	req := digestRequest{Epoch: c.epoch(), For: c.node.id.Bytes(), After: after, Limit: rangeKeys}
	if after == "" {
		req.Fences = c.node.fences.carry()
	}
	if err := c.call(ctx, callDigest, &req, &theirs); err != nil {
		return "", false, err
	}
	if err := c.node.fences.receive(c.st, theirs.Fences); err != nil {
		return "", false, err
	}
	if theirs.More {
		if theirs.Next <= after {
			return "", false, fmt.Errorf("%q: a range that ends with %q begins after %q", c.with.Name, theirs.Next, after)
		}
		upTo = theirs.Next
	}
	mine, err := c.digest(ctx, after, upTo)
	if err != nil {
		return "", false, err
	}
	c.ranges++
	if !bytes.Equal(mine, theirs.Hash) {
		c.differing++
		if err := c.mend(ctx, after, upTo); err != nil {
			return "", false, err
		}
	}
	return upTo, theirs.More, nil
}

// digest returns the digest of what this member has in a range. No upTo is the end
// of all keys.
func (c *comparison) digest(ctx context.Context, after, upTo string) ([]byte, error) {
	d := newDigest()
	for more := true; more; {
		page, err := c.mine(ctx, after, upTo)
		if err != nil {
			return nil, err
		}
		d.add(page.Copies)
		c.scanned += page.Scanned
		after, more = page.Next, page.More
	}
	return d.sum(), nil
}

// mine reads a page of what this member has of the keys that both own.
func (c *comparison) mine(ctx context.Context, after, upTo string) (*pageReply, error) {
	page, err := c.node.onPage(ctx, &pageRequest{Epoch: c.epoch(), For: c.with.ID.Bytes(), Which: whichBoth, After: after, UpTo: upTo, Limit: rangeKeys})
	if err != nil {
		return nil, err
	}
	return page, spend(ctx, c.limit, pageCost(page))
}

// pageCost is what the reading of a page costs the limit.
func pageCost(page *pageReply) int {
	cost := int(page.Scanned) * noteBytes
	for i := range page.Copies {
		cost += len(page.Copies[i].Key)
	}
	return cost
}

// mend brings a range into line that differs.
func (c *comparison) mend(ctx context.Context, after, upTo string) error {
	for more := true; more; {
		diffs, end, m, err := c.look(ctx, after, upTo)
		if err != nil {
			return err
		}
		if diffs, err = c.leaveUnderWay(ctx, diffs); err != nil {
			return err
		}
		if err := c.bringBoth(ctx, diffs); err != nil {
			return err
		}
		after, more = end, m
	}
	return nil
}

// difference is a key of which one of the two lacks what the other holds.
type difference struct {
	key          string
	newer, older held
	// theirs: the other member holds the newer one.
	theirs bool
}

// look finds the differences in the first part of a range. It returns where that
// part ends, and whether there is more of the range after it.
func (c *comparison) look(ctx context.Context, after, upTo string) (diffs []difference, end string, more bool, err error) {
	var theirs pageReply
	req := pageRequest{Epoch: c.epoch(), For: c.node.id.Bytes(), Which: whichBoth, After: after, UpTo: upTo, Limit: rangeKeys}
	if err := c.call(ctx, callPage, &req, &theirs); err != nil {
		return nil, "", false, err
	}
	end = upTo
	if more = theirs.More; more {
		if end = theirs.Next; end <= after {
			return nil, "", false, fmt.Errorf("%q: a page that ends with %q begins after %q", c.with.Name, end, after)
		}
	}
	mine, err := c.mine(ctx, after, end)
	if err != nil {
		return nil, "", false, err
	}
	if mine.More { // so many here that they are not one page
		end, more = mine.Next, true
		n := len(theirs.Copies)
		for n > 0 && theirs.Copies[n-1].Key > end {
			n--
		}
		theirs.Copies = theirs.Copies[:n]
	}
	if err := spend(ctx, c.limit, pageCost(&theirs)); err != nil {
		return nil, "", false, err
	}
	return differences(mine.Copies, theirs.Copies), end, more, nil
}

// differences returns what two owners lack of each other, of what they hold of a
// range, in key order.
func differences(mine, theirs []copyNote) []difference {
	var diffs []difference
	for len(mine) > 0 || len(theirs) > 0 {
		var m, t held
		var key string
		order := 0
		switch {
		case len(theirs) == 0:
			order = -1
		case len(mine) == 0:
			order = 1
		default:
			order = strings.Compare(mine[0].Key, theirs[0].Key)
		}
		if order <= 0 {
			key, m, mine = mine[0].Key, mine[0].held(), mine[1:]
		}
		if order >= 0 {
			key, t, theirs = theirs[0].Key, theirs[0].held(), theirs[1:]
		}
		switch {
		case m.lacks(t):
			diffs = append(diffs, difference{key: key, newer: t, older: m, theirs: true})
		case t.lacks(m):
			diffs = append(diffs, difference{key: key, newer: m, older: t})
		}
	}
	return diffs
}

// mayBeUnderWay reports whether a write explains one of the differences that has
// not reached everybody yet.
func (c *comparison) mayBeUnderWay(diffs []difference) bool {
	young := register.Timestamp(c.node.cfg.wall().Add(-underWay))
	return slices.ContainsFunc(diffs, func(d difference) bool { return d.newer.accepted.Time >= young })
}

// leaveUnderWay returns the differences without those that are writes under way. It
// rests if nothing is left, unless one of the two came back.
func (c *comparison) leaveUnderWay(ctx context.Context, diffs []difference) ([]difference, error) {
	if !c.mayBeUnderWay(diffs) {
		return diffs, nil
	}
	diffs, err := c.lookAgain(ctx, diffs)
	if err == nil && len(diffs) == 0 && !c.behind {
		err = pause(ctx, writtenRest)
	}
	return diffs, err
}

// lookAgain returns which of the differences are still there after a while, so
// that writes under way are left alone. They move the cell of the one that is
// behind.
func (c *comparison) lookAgain(ctx context.Context, before []difference) (still []difference, err error) {
	if err := pause(ctx, underWayPause); err != nil {
		return nil, err
	}
	req := pageRequest{Epoch: c.epoch(), For: c.node.id.Bytes(), Which: whichBoth}
	older := make(map[string]difference, len(before))
	for _, d := range before {
		older[d.key] = d
		req.Keys = append(req.Keys, d.key)
	}
	var theirs pageReply
	if err := c.call(ctx, callPage, &req, &theirs); err != nil {
		return nil, err
	}
	req.For = c.with.ID.Bytes()
	mine, err := c.node.onPage(ctx, &req)
	if err != nil {
		return nil, err
	}
	if err := spend(ctx, c.limit, pageCost(mine)+pageCost(&theirs)); err != nil {
		return nil, err
	}
	for _, d := range differences(mine.Copies, theirs.Copies) {
		if was := older[d.key]; was.theirs == d.theirs && was.older == d.older {
			still = append(still, d)
		}
	}
	return still, nil
}

// bringBoth brings the newer cells to whoever lacks them.
func (c *comparison) bringBoth(ctx context.Context, diffs []difference) error {
	var take, give []string
	for _, d := range diffs {
		if d.theirs {
			take = append(take, d.key)
		} else {
			give = append(give, d.key)
		}
	}
	me, them := c.node.id.Node(), c.with.ID.Node()
	n, failed, err := c.node.bring(ctx, c.epoch(), them, me, take, c.limit)
	c.received += n
	c.left += len(failed)
	if err != nil {
		return err
	}
	n, failed, err = c.node.bring(ctx, c.epoch(), me, them, give, c.limit)
	c.given += n
	c.left += len(failed)
	c.node.repairs.gave(n)
	return err
}

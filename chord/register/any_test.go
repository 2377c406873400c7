package register

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// This file draws the things that travel.

func anyTime(t *rapid.T) uint64 { return rapid.Uint64Range(0, MaxTime).Draw(t, "time") }

func anyBallot(t *rapid.T) Ballot {
	return Ballot{Time: anyTime(t), Node: ring.Node(rapid.Uint64().Draw(t, "node"))}
}

func anyData(t *rapid.T) []byte {
	b := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "data")
	if len(b) == 0 {
		return nil
	}
	return b
}

// anyValue draws a value, with tags or without.
func anyValue(t *rapid.T) Value {
	v := plainValue(t)
	for range rapid.IntRange(0, MaxTags).Draw(t, "tags") {
		v.Tags = append(v.Tags, Tag{Fence: anyFence(t), Pass: anyAttempt(t)})
		v.Undo = &Cell{Accepted: anyBallot(t), Value: plainValue(t)}
	}
	return v
}

func plainValue(t *rapid.T) Value {
	v := Value{Live: rapid.Bool().Draw(t, "live"), Data: anyData(t), Flags: rapid.Uint64().Draw(t, "flags"), Create: anyTime(t)}
	if v.Hidden = rapid.Bool().Draw(t, "hidden"); v.Hidden {
		v.Shown = anyTime(t)
	}
	if rapid.Bool().Draw(t, "more") {
		v.Holding, v.Expires, v.Intent = anyHolding(t), time.Duration(rapid.Int64Min(0).Draw(t, "expires")), anyIntent(t)
		v.WasTagged = rapid.Bool().Draw(t, "was tagged")
	}
	at := Ballot{Time: MaxTime}
	for range rapid.IntRange(0, maxEncodedLineage).Draw(t, "lineage") {
		if at.IsZero() {
			break
		}
		at.Time -= min(at.Time, 1+uint64(rapid.IntRange(0, 5000).Draw(t, "step")))
		v.Lineage = append(v.Lineage, Past{Write: at, Op: anyBallot(t)})
	}
	return v
}

// anyCell draws a cell; what its value stands on is older.
func anyCell(t *rapid.T) Cell {
	c := Cell{Accepted: anyBallot(t), Value: anyValue(t)}
	v := &c.Value
	written := v.Write().Time
	if v.Undo == nil || c.Accepted.Time == 0 || written == 0 {
		v.Tags, v.Undo = nil, nil
		return c
	}
	v.Undo.Accepted.Time = rapid.Uint64Range(0, c.Accepted.Time-1).Draw(t, "undo")
	lineage := &v.Undo.Value.Lineage
	if *lineage = slices.DeleteFunc(*lineage, func(p Past) bool { return p.Write.Time >= written }); len(*lineage) == 0 {
		*lineage = nil
	}
	return c
}

func anyChange(t *rapid.T) Change {
	c := Change{Kind: Kind(rapid.IntRange(int(Identity), int(End)).Draw(t, "change")), Data: anyData(t), Flags: rapid.Uint64().Draw(t, "flags")}
	if c.If = rapid.Bool().Draw(t, "if"); c.If {
		c.Index = anyTime(t)
	}
	if rapid.Bool().Draw(t, "more") {
		c.Expires, c.Holding = time.Duration(rapid.Int64Min(0).Draw(t, "expires")), anyHolding(t)
		c.Tell = rapid.Bool().Draw(t, "tell")
		c.Take, c.Remove = rapid.Bool().Draw(t, "take"), rapid.Bool().Draw(t, "remove")
		c.Guard, c.Fresh = rapid.Bool().Draw(t, "guard"), rapid.Bool().Draw(t, "fresh")
		c.Alive = rapid.StringN(0, 9, 36).Draw(t, "alive")
		for range rapid.IntRange(0, MaxTags).Draw(t, "fences") {
			c.Fences = append(c.Fences, anyFence(t))
		}
		c.Txn, c.Over = anyTxn(t), Ended{Txn: anyTxn(t), Committed: rapid.Bool().Draw(t, "committed")}
	}
	return c
}

func anyTxn(t *rapid.T) TxnID {
	return TxnID{Start: anyBallot(t), Attempt: rapid.Uint32().Draw(t, "attempt")}
}

func anyHolding(t *rapid.T) Holding {
	return Holding{Session: rapid.StringN(0, 9, 36).Draw(t, "session"), Holders: rapid.Uint64().Draw(t, "holders"), Token: anyTime(t),
		Over: rapid.Bool().Draw(t, "over"), Delete: rapid.Bool().Draw(t, "delete")}
}

func anyFence(t *rapid.T) Fence {
	return Fence{Key: rapid.StringN(1, 9, 36).Draw(t, "lock"), Token: max(anyTime(t), 1)}
}

func anyAttempt(t *rapid.T) Attempt {
	return Attempt{Token: anyTime(t), Number: rapid.Uint64().Draw(t, "number")}
}

func anyEntry(t *rapid.T) FenceEntry {
	e := FenceEntry{Key: anyFence(t).Key, Try: anyAttempt(t), Sealed: anyAttempt(t)}
	if e.Try == (Attempt{}) {
		e.Try.Token = 1
	}
	for range rapid.IntRange(0, 9).Draw(t, "by") {
		e.By = append(e.By, ring.Node(rapid.Uint64().Draw(t, "node")))
	}
	return e
}

func anyEntries(t *rapid.T) (entries []FenceEntry) {
	for range rapid.IntRange(0, MaxTags).Draw(t, "entries") {
		entries = append(entries, anyEntry(t))
	}
	return entries
}

func anyIntent(t *rapid.T) *Intent {
	return &Intent{
		Txn: anyTxn(t), Guard: rapid.Bool().Draw(t, "guard"), Fresh: rapid.Bool().Draw(t, "fresh"), Stamp: anyTime(t),
		New: Content{
			Live: rapid.Bool().Draw(t, "new live"), Data: anyData(t), Flags: rapid.Uint64().Draw(t, "new flags"), Holding: anyHolding(t),
			Expires: time.Duration(rapid.Int64Min(0).Draw(t, "new expires")),
		},
	}
}

// anyMessage draws a message with the fields of its kind set.
func anyMessage(t *rapid.T) Message {
	m := Message{
		Kind: MessageKind(rapid.IntRange(int(MsgPrepare), int(MsgDrift)).Draw(t, "kind")),
		Key:  rapid.SampledFrom([]string{"", "k", "other"}).Draw(t, "key"), Epoch: rapid.Uint64().Draw(t, "epoch"),
		Round: rapid.Uint64().Draw(t, "round"), Time: anyTime(t),
	}
	switch m.Kind {
	case MsgPrepare:
		m.Ballot = anyBallot(t)
	case MsgRefuse:
		m.Ballot, m.Fences = anyBallot(t), anyEntries(t)
	case MsgAccepted:
		m.Ballot, m.Next = anyBallot(t), anyBallot(t)
	case MsgPromise:
		m.Ballot, m.Cell = anyBallot(t), anyCell(t)
		if m.Cell.IsZero() || rapid.Bool().Draw(t, "empty") {
			m.Cell = Cell{}
		}
		m.Forgot, m.Fences = anyBallot(t), anyEntries(t)
	case MsgAccept:
		m.Next, m.Cell = anyBallot(t), anyCell(t)
		m.Ballot = m.Cell.Accepted
	case MsgRead:
		m.Digest = rapid.Bool().Draw(t, "digest")
	case MsgCell:
		m.Cell = anyCell(t)
		if m.Digest = rapid.Bool().Draw(t, "digest"); m.Digest {
			m.Cell.Value = Value{}
		}
	case MsgForward:
		c := anyChange(t)
		m.Op, m.Until, m.Change = anyBallot(t), anyTime(t), &c
		m.Timeout = time.Duration(rapid.Int64Min(0).Draw(t, "timeout"))
	case MsgResult:
		m.Result = &Result{
			Outcome: Outcome(rapid.IntRange(int(Done), int(Fenced)).Draw(t, "outcome")), Index: anyTime(t), Value: anyValue(t),
			Answered: rapid.IntRange(0, 255).Draw(t, "answered"), Owners: rapid.IntRange(0, 255).Draw(t, "owners"),
		}
	case MsgExpired:
		m.Doubt = rapid.Bool().Draw(t, "doubt")
	}
	return m
}

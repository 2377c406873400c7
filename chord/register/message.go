package register

import (
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// MessageKind is what a Message says. Kinds travel and never change their
// meaning.
type MessageKind uint8

// The kinds. A message that asks is followed by those that answer it.
const (
	// MsgPrepare asks an acceptor to promise Ballot.
	MsgPrepare MessageKind = 1 + iota
	// MsgPromise promises Ballot and reports the accepted Cell, with none or a tagged
	// one Forgot, and Fences that make its tags old.
	MsgPromise
	// MsgAccept asks an acceptor to accept Cell, at its ballot, and to promise
	// Next. It is never repeated and never doubled by the transport, so that a
	// MsgRefuse means it was never taken.
	MsgAccept
	// MsgAccepted says that the cell at Ballot is durable, and that Next is
	// promised unless it is zero.
	MsgAccepted
	// MsgRefuse refuses a Prepare or an Accept; Ballot is what was promised, or Fences
	// are what makes the value's tags old.
	MsgRefuse
	// MsgRead asks for the accepted cell, with Digest for its ballot alone.
	MsgRead
	// MsgCell answers a Read.
	MsgCell
	// MsgForward asks an owner to run Change as operation Op. It may propose it
	// only at ballots up to Until. It is never repeated and never doubled.
	MsgForward
	// MsgResult answers a Forward with a Result.
	MsgResult
	// MsgExpired answers a Forward whose window closed before it ended; Doubt
	// says whether it may have been sent to acceptors.
	MsgExpired
	// MsgStale says that the message came from an older epoch than its own.
	MsgStale
	// MsgDrift says that the sender's clock is too far ahead.
	MsgDrift
)

var messageNames = [...]string{
	MsgPrepare: "prepare", MsgPromise: "promise", MsgAccept: "accept", MsgAccepted: "accepted", MsgRefuse: "refuse",
	MsgRead: "read", MsgCell: "cell", MsgForward: "forward", MsgResult: "result", MsgExpired: "expired",
	MsgStale: "stale", MsgDrift: "drift",
}

func (k MessageKind) String() string {
	if int(k) < len(messageNames) && messageNames[k] != "" {
		return messageNames[k]
	}
	return fmt.Sprintf("message %d", uint8(k))
}

// Message is everything that shards say to each other, as one flat struct. Which
// fields matter depends on Kind.
type Message struct {
	Kind MessageKind
	Key  string
	// Epoch is the sender's configuration.
	Epoch uint64
	// Round is the asker's number of what it asks about; answers repeat it.
	Round uint64
	// Time is the sender's clock.
	Time uint64
	// Ballot: see Kind.
	Ballot Ballot
	// Next: see MsgAccept.
	Next Ballot
	// Digest: the cell's value is left out.
	Digest bool
	// Cell is what was accepted, or is to be.
	Cell Cell
	// Forgot: nothing that the acceptor once accepted and no longer has was
	// accepted, or stamped, above it.
	Forgot Ballot
	// Fences: see MsgPromise and MsgRefuse.
	Fences []FenceEntry
	// Op, Until, Timeout and Change belong to a Forward, which has one. Change and
	// Result are pointers because most messages have neither.
	Op      OpID
	Until   uint64
	Timeout time.Duration
	Change  *Change
	// Doubt belongs to an Expired.
	Doubt bool
	// Result belongs to a Result, which has one; its token is not sent.
	Result *Result
}

// Writes reports whether the message asks its receiver to make something durable.
func (m *Message) Writes() bool {
	return m.Kind == MsgPrepare || m.Kind == MsgAccept || m.Kind == MsgForward
}

// Size is about how many bytes of data the message holds.
func (m *Message) Size() int {
	n := m.Cell.Value.Size()
	if m.Change != nil {
		n += len(m.Change.Data)
	}
	return n
}

// newest returns the newest timestamp that a question makes the receiver keep.
func (m *Message) newest() uint64 {
	return max(m.Ballot.Time, m.Next.Time, m.Cell.Accepted.Time, m.Cell.Value.Write().Time, m.Op.Time)
}

// Envelope is a message with its addressee.
type Envelope struct {
	To  ring.Node
	Msg Message
}

// Write is something to make durable: a cell, or the shard's mark.
type Write struct {
	// Seq numbers the writes of a shard from 1, in order.
	Seq uint64
	// Key and Cell: the cell is now what this acceptor has accepted.
	Key  string
	Cell Cell
	// Drop: the key's cell is removed.
	Drop bool
	// Mark, when not nil, is written instead of a cell.
	Mark *Mark
}

// Mark is what a shard keeps durable besides cells.
type Mark struct {
	// HighWater bounds every ballot that the node issued and every promise it
	// made: after a restart no promise above it can have existed.
	HighWater uint64
}

// Ready is what a Shard hands out. Writes are to be made durable in their order;
// Messages and Results may be delivered at once, also before the writes are
// durable: what depends on a write is held back until Synced reports it.
type Ready struct {
	Writes   []Write
	Messages []Envelope
	Results  []Result
	// Newer names nodes that work by a newer configuration than this shard, which
	// should be given it.
	Newer []ring.Node
	// Learned are entries of fences that came with messages and were new to this shard.
	// They should be given to the node's other shards, and made durable.
	Learned []FenceEntry
	// Unsealed names locks whose fence stands in the way of an operation until it is
	// sealed; the node should see to that. The operation tries again by itself.
	Unsealed []string
	// Refused are the Accepts that were refused because of a fence, Fenced the
	// operations of callers here that ended so.
	Refused, Fenced []Refusal
}

// Refusal says that the write of a former holder was refused.
type Refusal struct {
	// Key is the key written, From the node that proposed it, Fence what it carried,
	// and InForce the token that is newer; 0 where that is not known.
	Key     string
	From    ring.Node
	Fence   Fence
	InForce uint64
}

// Empty reports whether there is nothing to do.
func (r *Ready) Empty() bool {
	return len(r.Writes) == 0 && len(r.Messages) == 0 && len(r.Results) == 0 && len(r.Newer) == 0 &&
		len(r.Learned) == 0 && len(r.Unsealed) == 0 && len(r.Refused) == 0 && len(r.Fenced) == 0
}

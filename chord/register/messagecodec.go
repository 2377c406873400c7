package register

import (
	"encoding/binary"
	"fmt"
)

// The encoding of a message. Every message begins with version, kind, key (length
// and bytes), epoch, round and time; the fields of its kind follow. A cell or a
// change comes last, so that its data needs no length.
const messageVersion = 1

// AppendMessage appends the encoding of m to dst.
func AppendMessage(dst []byte, m *Message) []byte {
	dst = append(dst, messageVersion, byte(m.Kind))
	dst = binary.AppendUvarint(dst, uint64(len(m.Key)))
	dst = append(dst, m.Key...)
	dst = binary.AppendUvarint(dst, m.Epoch)
	dst = binary.AppendUvarint(dst, m.Round)
	dst = binary.AppendUvarint(dst, m.Time)
	switch m.Kind {
	case MsgPrepare:
		dst = appendBallot(dst, m.Ballot)
	case MsgRefuse:
		dst = appendBallot(dst, m.Ballot)
		dst = appendEntries(dst, m.Fences)
	case MsgAccepted:
		dst = appendBallot(dst, m.Ballot)
		dst = appendBallot(dst, m.Next)
	case MsgPromise:
		dst = appendBallot(dst, m.Ballot)
		dst = appendBallot(dst, m.Cell.Accepted)
		dst = appendBallot(dst, m.Forgot)
		dst = appendEntries(dst, m.Fences)
		dst = appendValue(dst, &m.Cell.Value)
	case MsgAccept:
		dst = appendBallot(dst, m.Next)
		dst = appendBallot(dst, m.Cell.Accepted)
		dst = appendValue(dst, &m.Cell.Value)
	case MsgRead:
		dst = appendBool(dst, m.Digest)
	case MsgCell:
		dst = appendBool(dst, m.Digest)
		dst = appendBallot(dst, m.Cell.Accepted)
		if !m.Digest {
			dst = appendValue(dst, &m.Cell.Value)
		}
	case MsgForward:
		dst = appendBallot(dst, m.Op)
		dst = binary.AppendUvarint(dst, m.Until)
		dst = binary.AppendUvarint(dst, uint64(m.Timeout))
		dst = appendChange(dst, m.Change)
	case MsgResult:
		dst = append(dst, byte(m.Result.Outcome))
		dst = binary.AppendUvarint(dst, m.Result.Index)
		dst = append(dst, byte(m.Result.Answered), byte(m.Result.Owners))
		dst = appendValue(dst, &m.Result.Value)
	case MsgExpired:
		dst = appendBool(dst, m.Doubt)
	case MsgStale, MsgDrift:
	default:
		panic(fmt.Sprintf("register: encoding %v", m.Kind))
	}
	return dst
}

// DecodeMessage reads what AppendMessage wrote. Data in the message are slices
// of b.
func DecodeMessage(b []byte) (Message, error) {
	var m Message
	d := decoder{b: b}
	if v := d.byte(); d.err == nil && v != messageVersion {
		return m, fmt.Errorf("register: message of encoding version %d; this build reads version %d", v, messageVersion)
	}
	m.Kind = MessageKind(d.byte())
	m.Key = string(d.bytes(d.uvarint()))
	m.Epoch = d.uvarint()
	m.Round = d.uvarint()
	m.Time = d.time()
	switch m.Kind {
	case MsgPrepare:
		m.Ballot = d.ballot()
	case MsgRefuse:
		m.Ballot = d.ballot()
		m.Fences = d.entries()
	case MsgAccepted:
		m.Ballot = d.ballot()
		m.Next = d.ballot()
	case MsgPromise:
		m.Ballot = d.ballot()
		m.Cell.Accepted = d.ballot()
		m.Forgot = d.ballot()
		m.Fences = d.entries()
		m.Cell.Value = d.value()
		d.older(&m.Cell)
	case MsgAccept:
		m.Next = d.ballot()
		m.Cell = d.cell()
		m.Ballot = m.Cell.Accepted
	case MsgRead:
		m.Digest = d.bool()
	case MsgCell:
		if m.Digest = d.bool(); m.Digest {
			m.Cell.Accepted = d.ballot()
		} else {
			m.Cell = d.cell()
		}
	case MsgForward:
		m.Op = d.ballot()
		m.Until = d.time()
		m.Timeout = d.duration()
		c := d.change()
		m.Change = &c
	case MsgResult:
		m.Result = &Result{}
		m.Result.Outcome = Outcome(d.byte())
		m.Result.Index = d.time()
		m.Result.Answered = int(d.byte())
		m.Result.Owners = int(d.byte())
		m.Result.Value = d.value()
		if o := m.Result.Outcome; o < Done || o > Fenced {
			d.fail(fmt.Errorf("unknown outcome %d; a newer build sent this", o))
		}
	case MsgExpired:
		m.Doubt = d.bool()
	case MsgStale, MsgDrift:
	default:
		d.fail(fmt.Errorf("unknown kind %d; a newer build sent this", m.Kind))
	}
	if d.err != nil {
		return Message{}, fmt.Errorf("register: message of %d bytes: %w", len(b), d.err)
	}
	return m, nil
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func (d *decoder) bool() bool {
	switch v := d.byte(); v {
	case 0:
		return false
	case 1:
		return true
	default:
		d.fail(fmt.Errorf("%d is no truth value", v))
		return false
	}
}

func (d *decoder) cell() Cell {
	c := Cell{Accepted: d.ballot(), Value: d.value()}
	d.older(&c)
	return c
}

// changeMore in the byte of a change's kind says that the fields follow which
// only transactions, locks and lifetimes use.
const changeMore = 0x80

// The flags of those fields.
const (
	changeTake = 1 << iota
	changeRemove
	changeGuard
	changeFresh
	changeCommitted
	changeTell
	changeFlags = 1<<iota - 1
)

// appendChange appends c; its data goes to the end of dst.
func appendChange(dst []byte, c *Change) []byte {
	kind := byte(c.Kind)
	flags := c.flags()
	more := flags != 0 || c.Expires != 0 || c.Holding != (Holding{}) || !c.Txn.IsZero() || !c.Over.Txn.IsZero() || c.Alive != "" || len(c.Fences) > 0
	if more {
		kind |= changeMore
	}
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, c.Flags)
	dst = appendBool(dst, c.If)
	dst = binary.AppendUvarint(dst, c.Index)
	if more {
		dst = append(dst, flags)
		dst = binary.AppendUvarint(dst, uint64(c.Expires))
		dst = appendHolding(dst, c.Holding)
		dst = appendTxn(dst, c.Txn)
		dst = appendTxn(dst, c.Over.Txn)
		dst = appendString(dst, c.Alive)
		dst = append(dst, byte(len(c.Fences)))
		for _, f := range c.Fences {
			dst = appendFence(dst, f)
		}
	}
	return append(dst, c.Data...)
}

func (c *Change) flags() (flags byte) {
	for bit, set := range map[byte]bool{changeTake: c.Take, changeRemove: c.Remove, changeGuard: c.Guard, changeFresh: c.Fresh, changeCommitted: c.Over.Committed, changeTell: c.Tell} {
		if set {
			flags |= bit
		}
	}
	return flags
}

func (d *decoder) change() Change {
	kind := d.byte()
	c := Change{Kind: Kind(kind &^ changeMore), Flags: d.uvarint(), If: d.bool(), Index: d.time()}
	if c.Kind < Identity || c.Kind > End {
		d.fail(fmt.Errorf("unknown change %d; a newer build sent this", c.Kind))
	}
	if kind&changeMore != 0 {
		flags := d.byte()
		if flags&^changeFlags != 0 {
			d.fail(fmt.Errorf("unknown flags %#x of a change; a newer build sent this", flags))
		}
		c.Take, c.Remove, c.Guard, c.Fresh = flags&changeTake != 0, flags&changeRemove != 0, flags&changeGuard != 0, flags&changeFresh != 0
		c.Tell = flags&changeTell != 0
		c.Expires = d.duration()
		c.Holding = d.holding()
		c.Txn = d.txn()
		c.Over = Ended{Txn: d.txn(), Committed: flags&changeCommitted != 0}
		c.Alive = d.string()
		c.Fences = d.fences()
	}
	if d.err == nil && len(d.b) > 0 {
		c.Data = d.b[:len(d.b):len(d.b)]
	}
	return c
}

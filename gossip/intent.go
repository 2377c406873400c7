package gossip

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// memberlist knows left from dead and does not tell: NotifyLeave is called for
// both. So a node that leaves says so in a message of ours, which is passed on
// like memberlist's own, and goes along whenever two nodes compare all they
// know. It may come before or after the news of the death.

const (
	// intentVersion is the first byte of a message: a list of intents follows.
	intentVersion = 1
	intentBytes   = idBytes + 8
	// noticeVersion is the first byte of a message: the sender's meta follows.
	noticeVersion = 2
)

// encodeNotice writes the message by which a node says that its ring changed.
func encodeNotice(n *Node) ([]byte, error) {
	b, err := encodeMeta(n)
	return append([]byte{noticeVersion}, b...), err
}

// intent says that a life of a node leaves.
type intent struct {
	id   ring.ID
	boot uint64
}

func encodeIntents(list ...intent) []byte {
	b := make([]byte, 0, 1+len(list)*intentBytes)
	b = append(b, intentVersion)
	for _, i := range list {
		b = append(b, i.id.Bytes()...)
		b = binary.BigEndian.AppendUint64(b, i.boot)
	}
	return b
}

func decodeIntents(b []byte) ([]intent, error) {
	switch {
	case len(b) == 0:
		return nil, fmt.Errorf("the message is empty")
	case b[0] != intentVersion:
		return nil, fmt.Errorf("the message has version %d; this build reads %d", b[0], intentVersion)
	case (len(b)-1)%intentBytes != 0:
		return nil, fmt.Errorf("the message has %d bytes; they are no whole number of intents", len(b))
	case (len(b)-1)/intentBytes > MaxNodes+MaxGone:
		return nil, fmt.Errorf("the message has %d intents and may have %d", (len(b)-1)/intentBytes, MaxNodes+MaxGone)
	}
	b = b[1:]
	list := make([]intent, 0, len(b)/intentBytes)
	for ; len(b) > 0; b = b[intentBytes:] {
		id, err := ring.IDFromBytes(b[:idBytes])
		if err != nil {
			return nil, err
		}
		list = append(list, intent{id, binary.BigEndian.Uint64(b[idBytes:])})
	}
	return list, nil
}

// hearIntents notes intents and passes on those that are news.
func (g *Gossip) hearIntents(b []byte) {
	list, err := decodeIntents(b)
	if err != nil {
		if g.limits.allow("intent", time.Now()) {
			g.log.Warn("ignored a gossip message", "error", err)
		}
		return
	}
	var pass []intent
	g.mu.Lock()
	for _, i := range list {
		news, changed := g.table.leave(i.id, i.boot)
		if news {
			pass = append(pass, i)
		}
		if changed {
			g.tell(i.id)
		}
	}
	g.mu.Unlock()
	for _, i := range pass {
		g.intents.QueueBroadcast(newIntentCast(i))
	}
}

// intentCast is an intent in the queue of what to pass on.
type intentCast struct {
	name string
	msg  []byte
}

func newIntentCast(i intent) intentCast {
	return intentCast{fmt.Sprintf("%s.%x", i.id, i.boot), encodeIntents(i)}
}

// Name implements memberlist.NamedBroadcast.
func (c intentCast) Name() string { return c.name }

// Invalidates implements memberlist.Broadcast.
func (c intentCast) Invalidates(b memberlist.Broadcast) bool {
	o, ok := b.(intentCast)
	return ok && o.name == c.name
}

// Message implements memberlist.Broadcast.
func (c intentCast) Message() []byte { return c.msg }

// Finished implements memberlist.Broadcast.
func (c intentCast) Finished() {}

// NotifyMsg implements memberlist.Delegate.
func (h hooks) NotifyMsg(b []byte) {
	if len(b) > 0 && b[0] == noticeVersion {
		if n, err := decodeMeta(b[1:]); err == nil {
			h.g.hearNotice(n)
			return
		}
	}
	h.g.hearIntents(b) // and logs what it cannot read
}

// GetBroadcasts implements memberlist.Delegate.
func (h hooks) GetBroadcasts(overhead, limit int) [][]byte {
	return h.g.intents.GetBroadcasts(overhead, limit)
}

// LocalState implements memberlist.Delegate: what goes along when two nodes
// compare all they know.
func (h hooks) LocalState(bool) []byte {
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	var list []intent
	for _, e := range h.g.table.nodes {
		if e.leaving {
			list = append(list, intent{e.ID, e.Boot})
		}
	}
	if h.g.leaving {
		list = append(list, intent{h.g.self.ID, h.g.self.Boot})
	}
	if len(list) == 0 {
		return nil
	}
	return encodeIntents(list...)
}

// MergeRemoteState implements memberlist.Delegate.
func (h hooks) MergeRemoteState(b []byte, _ bool) { h.g.hearIntents(b) }

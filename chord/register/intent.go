package register

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// TxnID names one attempt of a transaction. It is never used twice.
type TxnID struct {
	// Start is when the transaction began, and where: a ballot, issued once. The
	// attempts of one transaction share it, so that it ages.
	Start Ballot
	// Attempt counts the attempts before this one.
	Attempt uint32
}

// IsZero reports whether id names nothing.
func (id TxnID) IsZero() bool { return id == TxnID{} }

// Compare orders by age, the oldest first.
func (id TxnID) Compare(other TxnID) int {
	return cmp.Or(id.Start.Compare(other.Start), cmp.Compare(id.Attempt, other.Attempt))
}

// Older reports whether id wins against other.
func (id TxnID) Older(other TxnID) bool { return id.Compare(other) < 0 }

// TxnPrefix begins the keys of statuses. Keys that begin with a zero byte are not
// for hosts.
const TxnPrefix = "\x00txn/"

// Key returns the key of the transaction's status.
func (id TxnID) Key() string {
	return fmt.Sprintf("%s%014x-%016x-%x", TxnPrefix, id.Start.Time, uint64(id.Start.Node), id.Attempt)
}

func (id TxnID) String() string { return strings.TrimPrefix(id.Key(), TxnPrefix) }

// ParseTxnKey is the inverse of Key; false for a key that is no status.
func ParseTxnKey(key string) (TxnID, bool) {
	rest, ok := strings.CutPrefix(key, TxnPrefix)
	parts := strings.Split(rest, "-")
	if !ok || len(parts) != 3 {
		return TxnID{}, false
	}
	at, err1 := strconv.ParseUint(parts[0], 16, 64)
	node, err2 := strconv.ParseUint(parts[1], 16, 64)
	attempt, err3 := strconv.ParseUint(parts[2], 16, 32)
	id := TxnID{Start: Ballot{Time: at, Node: ring.Node(node)}, Attempt: uint32(attempt)}
	return id, err1 == nil && err2 == nil && err3 == nil && at <= MaxTime && id.Key() == key
}

// Ended names a transaction that is committed, or one that is aborted or over.
type Ended struct {
	Txn       TxnID
	Committed bool
}

// Holding is what a key that can be held as a lock says of its holder.
type Holding struct {
	// Session is the session that holds the key, or empty. Whether it lives is not
	// said here; see SessionOf.
	Session string
	// Over says that Session has ended and holds nothing any more. It is still named,
	// also by a tombstone, for its lock delay.
	Over bool
	// Delete says that the key is to be deleted when Session ends, rather than
	// released.
	Delete bool
	// Holders counts the holders that the key has had since it was created.
	Holders uint64
	// Token is the timestamp of the change by which Session took the key; 0 without
	// one.
	Token uint64
}

// Holder returns the session that holds the key, or "". Whether it still lives is
// not said here.
func (h *Holding) Holder() string {
	if h.Over {
		return ""
	}
	return h.Session
}

// Content is what a change leaves at a key.
type Content struct {
	// Live is false for a deletion; the rest is then zero.
	Live  bool
	Data  []byte
	Flags uint64
	Holding
	// Expires is how long the key lives from its last change; 0 is for ever.
	Expires time.Duration
}

// Intent is a change that takes effect when its transaction commits.
type Intent struct {
	Txn TxnID
	// New is what it leaves. A Token in it is 0 where the intent takes the lock.
	New Content
	// Guard says that it changes nothing and only keeps others from the key; New is
	// then zero.
	Guard bool
	// Fresh says that the key is created anew: the transaction deleted it first.
	Fresh bool
	// Stamp is the timestamp of the placing. It becomes the modify index when the
	// intent is applied, whoever does that and whenever: so a coordinator knows the
	// indexes of its changes at its commit point, and a reader of a committed intent
	// that of its value. No other change that hosts see comes between the two, so
	// the indexes of a key still only grow.
	Stamp uint64
}

// MaxCellData bounds the data of a value and an intent beside it, so that both
// fit a frame. Another intent is Oversized.
const MaxCellData = 16 << 20

// put returns the value after c was written on top of v, stamped at; fresh forgets
// when v was created.
func (v Value) put(c Content, fresh bool, at uint64, lineage []Past) Value {
	if !c.Live {
		return Value{Holding: v.past(), Lineage: lineage}
	}
	next := Value{Live: true, Data: c.Data, Flags: c.Flags, Holding: c.Holding, Expires: c.Expires, Create: at, Lineage: lineage}
	if v.Live && !fresh {
		next.Create = v.Create
	}
	if c.Session != "" && !c.Over && c.Token == 0 {
		next.Token = at
	}
	return next
}

// Old returns the value as it is without its intent.
func (v Value) Old() Value {
	v.Intent = nil
	return v
}

// Applied returns the value as it is once its intent, if it has one, is applied.
func (v Value) Applied() Value {
	in := v.Intent
	if in == nil || in.Guard || !in.New.Live && !v.Live { // deleting what is not there changes nothing
		return v.Old()
	}
	next := v.put(in.New, in.Fresh, in.Stamp, v.Lineage)
	next.Hidden, next.Shown = true, in.Stamp
	return next
}

// without returns the value once the intent of a transaction that ended, if there
// is one, is resolved, and whether that changed it.
func (v Value) without(over Ended) (Value, bool) {
	switch {
	case v.Intent == nil || v.Intent.Txn != over.Txn:
		return v, false
	case over.Committed:
		return v.Applied(), true
	}
	return v.Old(), true
}

// hide makes w the last write of v, one that hosts do not see.
func (v Value) hide(w Past) Value {
	v.Hidden, v.Shown = true, v.Stamp()
	v.Lineage = v.extend(w)
	return v
}

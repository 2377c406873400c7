package chord

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/mesh"
)

// held is what an owner holds of a key: an entry, or the intent of a transaction, if
// live, else a tombstone, or nothing if it is zero.
type held struct {
	accepted register.Ballot
	live     bool
}

func (c *copyNote) held() held { return held{accepted: c.accepted(), live: c.Live} }

// lacks reports whether an owner that holds h is to be given what another owner
// of the key holds. Comparing and verifying both go by this rule.
//
// An entry is lacked by who has nothing, or anything older. A tombstone is lacked
// by who has an older entry. It is not by who has nothing or an older tombstone:
// the key does not exist there either. Owners forget a tombstone one by one; would
// those that still have it give it to those that have not, it would never be
// gone. Who is about to forget one gives it to all others himself, so nothing
// waits for this, and no clock is asked how old a tombstone is.
func (h held) lacks(other held) bool {
	return h.accepted.Less(other.accepted) && (h.live || other.live)
}

// digest is a hash of the entries, with their ballots, of a range of keys in
// order. Tombstones are not part of it: two owners have the same digest exactly if
// neither lacks anything that the other one holds.
type digest struct{ hash hash.Hash }

func newDigest() digest { return digest{sha256.New()} }

// add adds keys that are above those added before.
func (d digest) add(copies []copyNote) {
	var buf []byte
	for i := range copies {
		c := &copies[i]
		if !c.Live {
			continue
		}
		buf = binary.AppendUvarint(buf[:0], uint64(len(c.Key)))
		buf = append(buf, c.Key...)
		buf = binary.BigEndian.AppendUint64(buf, c.Time)
		buf = binary.BigEndian.AppendUint64(buf, uint64(c.Node))
		d.hash.Write(buf)
	}
}

func (d digest) sum() []byte { return d.hash.Sum(nil) }

// digestRequest asks a member for the digest of what it and the asker both own
// after a key. The member looks at Limit keys at most, and so says where the range
// ends.
type digestRequest struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Epoch uint64
	For   []byte // the asker's ID
	After string
	Limit int
	// Fences are the asker's, with the first range.
	Fences carried
}

// digestReply is the digest of a range that ends with Next, or with the last of
// all keys unless there are More.
type digestReply struct {
	//lint:ignore U1000 read by the codec
	_struct bool `codec:",toarray"`

	Next string
	More bool
	Hash []byte
	// Fences are the member's, with the first range.
	Fences carried
}

func (n *Node) onDigest(ctx context.Context, req *digestRequest) (*digestReply, error) {
	st, err := n.owner(req.Epoch)
	if err != nil {
		return nil, err
	}
	if !st.clean() {
		return nil, &mesh.RemoteError{Code: codeNotReady, Message: "drops what belongs to others first"}
	}
	page, err := n.onPage(ctx, &pageRequest{Epoch: req.Epoch, For: req.For, Which: whichBoth, After: req.After, Limit: req.Limit})
	if err != nil {
		return nil, err
	}
	if req.After == "" {
		id, err := ring.IDFromBytes(req.For)
		if err != nil {
			return nil, err
		}
		n.repairs.begun(st, id)
		if err := n.fences.receive(st, req.Fences); err != nil {
			return nil, err
		}
	}
	d := newDigest()
	d.add(page.Copies)
	return &digestReply{Next: page.Next, More: page.More, Hash: d.sum(), Fences: page.Fences}, nil
}

// clean reports whether all cells here belong to this node. One that does not may
// be older than a tombstone that its owners have forgotten.
func (st *ringState) clean() bool {
	select {
	case <-st.purged:
		return true
	default:
		return false
	}
}

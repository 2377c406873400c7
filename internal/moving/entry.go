package moving

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// Entry is a key as it moves. Its versions stay behind, and so does who holds it
// as a lock.
type Entry struct {
	Key   string
	Value []byte
	Flags uint64
	// Expires is the lifetime of the key; 0 is for ever. It begins anew where the
	// key arrives.
	Expires time.Duration
	// left says why a key of the source stays behind, and doubt why it might have to.
	left, doubt string
}

func fromBackend(e *backend.Entry) *Entry {
	return &Entry{Key: e.Key, Value: e.Value, Flags: e.Flags, Expires: e.ExpiresAfter}
}

// sum stands for all that an entry is.
type sum [sha256.Size]byte

// sum is the SHA-256 of the key's length, the flags and the lifetime in
// nanoseconds, 8 bytes each with the highest first, then the key and the value.
func (e *Entry) sum() sum {
	var head [24]byte
	binary.BigEndian.PutUint64(head[:], uint64(len(e.Key)))
	binary.BigEndian.PutUint64(head[8:], e.Flags)
	binary.BigEndian.PutUint64(head[16:], uint64(e.Expires))
	h := sha256.New()
	h.Write(head[:]) // a hash returns no error
	_, _ = io.WriteString(h, e.Key)
	h.Write(e.Value)
	return sum(h.Sum(nil))
}

// digest counts entries and hashes their sums, which come in the order of the
// keys.
type digest struct {
	hash hash.Hash
	keys int
}

func newDigest() *digest { return &digest{hash: sha256.New()} }

func (d *digest) add(s sum) {
	d.hash.Write(s[:])
	d.keys++
}

// text is the SHA-256 of all sums, in hex.
func (d *digest) text() string { return hex.EncodeToString(d.hash.Sum(nil)) }

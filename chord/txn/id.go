package txn

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// ID names one attempt of a transaction. It is never used twice.
type ID struct {
	// Start is when the transaction began, and where: a ballot, issued once. The
	// attempts of one transaction share it, so that it ages.
	Start register.Ballot
	// Attempt counts the attempts before this one.
	Attempt uint32
}

// IsZero reports whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders by age, the oldest first.
func (id ID) Compare(other ID) int {
	return cmp.Or(id.Start.Compare(other.Start), cmp.Compare(id.Attempt, other.Attempt))
}

// Older reports whether id wins against other.
func (id ID) Older(other ID) bool { return id.Compare(other) < 0 }

// Prefix begins the keys of statuses. Keys that begin with a zero byte are not
// for hosts.
const Prefix = "\x00txn/"

// Key returns the key of the transaction's status.
func (id ID) Key() string {
	return fmt.Sprintf("%s%014x-%016x-%x", Prefix, id.Start.Time, uint64(id.Start.Node), id.Attempt)
}

func (id ID) String() string { return strings.TrimPrefix(id.Key(), Prefix) }

// ParseKey is the inverse of Key; false for a key that is no status.
func ParseKey(key string) (ID, bool) {
	rest, ok := strings.CutPrefix(key, Prefix)
	parts := strings.Split(rest, "-")
	if !ok || len(parts) != 3 {
		return ID{}, false
	}
	time, err1 := strconv.ParseUint(parts[0], 16, 64)
	node, err2 := strconv.ParseUint(parts[1], 16, 64)
	attempt, err3 := strconv.ParseUint(parts[2], 16, 32)
	id := ID{Start: register.Ballot{Time: time, Node: ring.Node(node)}, Attempt: uint32(attempt)}
	return id, err1 == nil && err2 == nil && err3 == nil && id.Key() == key
}

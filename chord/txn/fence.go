package txn

import (
	"slices"
	"strings"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

// Fence makes the transaction commit only while no newer fence of the lock is in
// force. It is judged where the commit is decided.
func (tx *Tx) Fence(f register.Fence) error {
	if f == (register.Fence{}) {
		return nil
	}
	i, found := slices.BinarySearchFunc(tx.fences, f.Key, func(have register.Fence, key string) int { return strings.Compare(have.Key, key) })
	switch {
	case found:
		tx.fences[i].Token = min(tx.fences[i].Token, f.Token)
	case len(tx.fences) == register.MaxTags:
		return tooLarge(f.Key, "a transaction may carry the fences of %d locks", register.MaxTags)
	default:
		tx.fences = slices.Insert(tx.fences, i, f)
	}
	return nil
}

// fencesOf returns a fence as a change carries it.
func fencesOf(f register.Fence) []register.Fence {
	if f == (register.Fence{}) {
		return nil
	}
	return []register.Fence{f}
}

func fenced(key string) error {
	return &Error{Kind: Fenced, Key: key, Message: "the fence is of a former holder of the lock; nothing was changed, take the lock again"}
}

package backend

import "context"

// Watcher is a backend that tells of changes.
type Watcher interface {
	// Watch waits until the state of a key, or of all keys under a prefix, has an
	// index other than q.After, and returns that index.
	//
	// The index of a key that exists is its modify index. That of a key that does
	// not is the index of its deletion as long as that is remembered, and else 1
	// or the newest index that was forgotten. That of a prefix is the highest index
	// of any key under it, deleted ones included, as ListResult.Index is of a whole
	// listing (which is 0 where Watch says 1). So After is an index that an earlier
	// Watch, Get, Put or List returned, or 0 to be told the index at once; one that
	// the state never had, also a greater one, returns at once.
	//
	// Watch may return for nothing, also q.After itself, but never often, and it
	// misses no change: whoever passes on the last index sees the last state.
	// Where the indexes of different keys have no order, that is so of a prefix if
	// it is passed on within 20 s. When ctx ends first it fails with NoQuorum as
	// every call does, and nothing was missed.
	Watch(ctx context.Context, q WatchQuery) (index uint64, err error)
}

// WatchQuery says what to wait for.
type WatchQuery struct {
	// Key is the key to watch. When it is empty, Prefix is watched.
	Key string
	// Prefix is the prefix to watch; empty is all keys.
	Prefix string
	// After is the index that the caller has seen.
	After uint64
}

// CheckWatch returns an error unless q could be answered.
func (l Limits) CheckWatch(q WatchQuery) error {
	if q.Key == "" {
		return l.CheckPrefix(q.Prefix)
	}
	if q.Prefix != "" {
		return Errorf(Invalid, q.Key, "a watch has a key or a prefix and not both; the prefix is %q", q.Prefix)
	}
	return l.CheckKey(q.Key)
}

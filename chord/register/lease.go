package register

// lease is the right to skip Prepare once: a quorum of owners accepted the cell
// at accepted and promised next to this node. While nobody else prepares the
// key, an Accept at exactly next is safe. It is a cache: losing it costs a round
// trip, nothing else.
type lease struct {
	next, accepted Ballot
}

// leases keeps the newest leases of a shard, by key.
type leases struct {
	max   int
	byKey map[string]lease
	order []leased // in the order of their making; of a key only the last counts
}

type leased struct {
	key  string
	next Ballot
}

func newLeases(max int) leases { return leases{max: max, byKey: map[string]lease{}} }

func (l *leases) put(key string, v lease) {
	l.byKey[key] = v
	l.order = append(l.order, leased{key, v.next})
	for len(l.order) > 2*l.max || len(l.byKey) > l.max {
		oldest := l.order[0]
		l.order = l.order[1:]
		if l.byKey[oldest.key].next == oldest.next {
			delete(l.byKey, oldest.key)
		}
	}
}

// take returns the lease of key and forgets it: a ballot is used once.
func (l *leases) take(key string) (lease, bool) {
	v, ok := l.byKey[key]
	delete(l.byKey, key)
	return v, ok
}

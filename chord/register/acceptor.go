package register

// acceptor keeps the promises of one shard; what is accepted lives in cells. The
// table of promises is bounded: one that must go raises the floor.
//
//	promised(key) = max(explicit promise, floor, accepted ballot of the cell)
type acceptor struct {
	// floor is the implied promise of every key. After a restart it is the
	// high-water mark, above any promise made before.
	floor Ballot
	// forgot is above all that this acceptor once accepted and no longer has; never
	// above floor.
	forgot Ballot
	// top is the highest promise made since the start.
	top Ballot
	max int
	// explicit promises, and the order in which they were made. An entry of order
	// whose ballot is no longer the key's promise is skipped.
	explicit map[string]Ballot
	order    []promise
}

type promise struct {
	key    string
	ballot Ballot
}

func newAcceptor(mark Mark, max int) acceptor {
	a := acceptor{max: max, explicit: map[string]Ballot{}}
	if mark.HighWater > 0 && holds(ruleAmnesia) {
		a.floor = ceiling(mark.HighWater)
		a.forgot = a.floor // for all it knows
	}
	return a
}

func (a *acceptor) promised(key string, accepted Ballot) Ballot {
	p := maxBallot(a.floor, a.explicit[key])
	if holds(ruleAcceptedPromises) {
		p = maxBallot(p, accepted)
	}
	return p
}

// prepare promises b, or refuses with what was promised.
func (a *acceptor) prepare(key string, b, accepted Ballot) (promised Ballot, ok bool) {
	if p := a.promised(key, accepted); !p.Less(b) {
		return p, false
	}
	a.promise(key, b)
	return b, true
}

// accept decides on an Accept at b. When it is taken, next is promised too,
// unless it is zero.
func (a *acceptor) accept(key string, b, accepted, next Ballot) (promised Ballot, ok bool) {
	if p := a.promised(key, accepted); b.Less(p) {
		return p, false
	}
	if b.Less(next) {
		a.promise(key, next)
	} else {
		delete(a.explicit, key) // the accepted ballot says as much
	}
	return b, true
}

func (a *acceptor) promise(key string, b Ballot) {
	a.explicit[key] = b
	a.top = maxBallot(a.top, b)
	a.order = append(a.order, promise{key, b})
	a.evict()
}

// raise promises all ballots up to floor for every key, in place of who may have
// forgotten something below it.
func (a *acceptor) raise(floor Ballot) {
	a.floor = maxBallot(a.floor, floor)
	a.forgot = maxBallot(a.forgot, floor)
}

// forget drops what is promised of a key whose cell goes; the floor says as much.
func (a *acceptor) forget(key string, floor Ballot) {
	delete(a.explicit, key)
	if holds(ruleForgetFloor) {
		a.raise(floor)
	}
}

// evict keeps the table within its bound: the oldest promises go, into the floor.
func (a *acceptor) evict() {
	for len(a.explicit) > a.max {
		oldest := a.order[0]
		a.order = a.order[1:]
		if a.explicit[oldest.key] != oldest.ballot {
			continue
		}
		delete(a.explicit, oldest.key)
		if holds(ruleEvictFloor) {
			a.floor = maxBallot(a.floor, oldest.ballot)
		}
	}
	if len(a.order) > 2*a.max+16 {
		live := make([]promise, 0, len(a.explicit))
		for _, p := range a.order {
			if a.explicit[p.key] == p.ballot {
				live = append(live, p)
			}
		}
		a.order = live
	}
}

package chord

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/chord/store"
)

// A ring is founded once, by agreement of all of its first members: one decree of
// Paxos (Lamport 2001) whose quorum is every member of the set. A member is
// promised to one set at a time, and once it has accepted a configuration it is
// bound to that set for good, so no two rings can share a founder. Because all
// must accept, a set of which one member is lost for good never founds a ring;
// its members say so and are started anew with empty data directories.
//
// Members accept in the order of their IDs, so that proposals for sets that
// overlap cannot hold each other up: of all that have accepted anything, the one
// with the highest ID belongs to a set whose lower members have accepted it and
// whose higher ones are free. And whoever has accepted proposes its set again, as
// nobody else may still know of it.

// vote is one member's part as an acceptor.
type vote struct {
	mu       sync.Mutex
	set      []ring.ID // promised to
	promised register.Ballot
	above    register.Ballot // to be exceeded by our next proposal
	accepted *founding       // durable
	save     func(*founding) error
}

// founding is a configuration that was accepted but is perhaps not chosen.
type founding struct {
	Ballot        register.Ballot
	Configuration *ring.Configuration
}

// voteKey is the internal key under which a member keeps what it accepted.
const voteKey = "\x00founding"

// loadVote returns the vote as it is after a start.
func loadVote(s *store.Store) (*vote, error) {
	v := &vote{save: func(f *founding) error { return saveFounding(s, f) }}
	cell, ok, err := s.Load(voteKey)
	if err != nil || !ok {
		return v, err
	}
	f := &founding{Ballot: cell.Accepted}
	if f.Configuration, err = ring.DecodeConfiguration(cell.Value.Data); err != nil {
		return nil, fmt.Errorf("the configuration this member voted for: %w", err)
	}
	v.accepted, v.promised, v.set = f, f.Ballot, memberIDs(f.Configuration)
	return v, nil
}

// saveFounding makes f durable. It is called before the node has shards, so that
// nobody else numbers writes.
func saveFounding(s *store.Store, f *founding) error {
	data := f.Configuration.Encode()
	done := make(chan error, 1)
	w := register.Write{Seq: 1, Key: voteKey, Cell: register.Cell{Accepted: f.Ballot, Value: register.Value{Live: true, Data: data}}}
	s.Commit(s.Shard(voteKey), []register.Write{w}, func(_ uint64, err error) { done <- err })
	return <-done
}

// prepareRing asks a member to promise itself to a set.
type prepareRing struct {
	Set      []ring.ID
	Ballot   register.Ballot
	Replicas int
}

// promiseRing is the answer: either what was accepted, or why not.
type promiseRing struct {
	Refused string
	// Above is a ballot that the next try must exceed.
	Above    register.Ballot
	Accepted []byte // an encoded configuration, or nothing
	At       register.Ballot
	Member   []byte // the member, as JSON
}

// acceptRing asks a member to accept a configuration.
type acceptRing struct {
	Ballot        register.Ballot
	Configuration []byte
	// Chosen: all have accepted; install it.
	Chosen bool
}

func (v *vote) prepare(req *prepareRing, self ring.Member) promiseRing {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.accepted != nil && !slices.Equal(v.set, req.Set):
		return promiseRing{Refused: fmt.Sprintf("%q has accepted to found a ring with %v; start those members, or empty the data directories of all that did not get a ring", self.Name, v.accepted.Configuration.Names())}
	case !v.promised.Less(req.Ballot):
		return promiseRing{Refused: fmt.Sprintf("%q is promised to another proposal", self.Name), Above: v.promised}
	}
	v.set, v.promised = req.Set, req.Ballot
	member, _ := json.Marshal(self)
	res := promiseRing{Member: member}
	if v.accepted != nil {
		res.Accepted, res.At = v.accepted.Configuration.Encode(), v.accepted.Ballot
	}
	return res
}

// bound returns the configuration that the member accepted, or nil. Only the
// ring of that set may have it, until it is known that there will be none.
func (v *vote) bound() *ring.Configuration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.accepted == nil {
		return nil
	}
	return v.accepted.Configuration
}

// free reports whether the member may be in conf: it is not bound to another
// ring, or one of its set has gone elsewhere, so that the other ring will never
// be. went says in which rings other members are.
func (v *vote) free(conf *ring.Configuration, went map[ring.ID]ring.RingID) bool {
	bound := v.bound()
	if bound == nil || bound.RingID == conf.RingID {
		return true
	}
	for _, m := range bound.New.Members {
		if _, founder := conf.Member(m.ID); founder || went[m.ID] == conf.RingID {
			return true
		}
	}
	return false
}

// ballot returns a ballot above all that the member has promised or met.
func (v *vote) ballot(wall uint64, self ring.Node) register.Ballot {
	v.mu.Lock()
	defer v.mu.Unlock()
	return register.Ballot{Time: max(v.promised.Time+1, v.above.Time+1, wall), Node: self}
}

// raise notes a ballot that the next proposal must exceed.
func (v *vote) raise(b register.Ballot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.above.Less(b) {
		v.above = b
	}
}

func (v *vote) accept(b register.Ballot, conf *ring.Configuration) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if b != v.promised || !slices.Equal(v.set, memberIDs(conf)) {
		return fmt.Errorf("promised to another proposal meanwhile")
	}
	f := &founding{b, conf}
	if err := v.save(f); err != nil {
		return err
	}
	v.accepted = f
	return nil
}

func memberIDs(conf *ring.Configuration) []ring.ID {
	ids := make([]ring.ID, len(conf.New.Members))
	for i, m := range conf.New.Members {
		ids[i] = m.ID
	}
	return ids
}

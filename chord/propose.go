package chord

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/chord-plugin/chord-plugin/chord/register"
	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// founder is a member that is asked to found a ring.
type founder struct {
	id   ring.ID
	name string
}

// refusedError is the answer of a founder that promises nothing.
type refusedError struct {
	reason string
	above  register.Ballot // to be exceeded by the next try
}

func (e *refusedError) Error() string { return e.reason }

// propose is the proposer's part in founding a ring of exactly the members of
// set, sorted by ID, at ballot b. It asks them one after the other, which the
// order of the Accepts needs (see vote). The result is chosen.
func propose(set []founder, b register.Ballot, replicas int,
	prepare func(founder, *prepareRing) (promiseRing, error), accept func(founder, *acceptRing) error,
) (*ring.Configuration, error) {
	req := prepareRing{Ballot: b, Replicas: replicas}
	for _, f := range set {
		req.Set = append(req.Set, f.id)
	}
	conf := &ring.Configuration{RingID: newRingID(), Epoch: 1, Level: ring.Level}
	if conf.New.Replicas = replicas; replicas == 0 {
		conf.New.Replicas = ring.MaxReplicas
	}
	var best register.Ballot
	var accepted *ring.Configuration
	for _, f := range set {
		p, err := prepare(f, &req)
		if err != nil {
			return nil, fmt.Errorf("asking %q: %w", f.name, err)
		}
		if p.Refused != "" {
			return nil, &refusedError{p.Refused, p.Above}
		}
		var m ring.Member
		if err := json.Unmarshal(p.Member, &m); err != nil || m.ID != f.id {
			return nil, fmt.Errorf("%q answered for somebody else", f.name)
		}
		conf.New.Members = append(conf.New.Members, m)
		if len(p.Accepted) > 0 && best.Less(p.At) {
			c, err := ring.DecodeConfiguration(p.Accepted)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", f.name, err)
			}
			best, accepted = p.At, c
		}
	}
	if accepted != nil {
		conf = accepted
	}
	conf.Sort()
	if err := conf.Validate(); err != nil {
		return nil, err
	}
	news := acceptRing{Ballot: b, Configuration: conf.Encode()}
	for _, f := range set {
		if err := accept(f, &news); err != nil {
			return nil, fmt.Errorf("%q does not accept it: %w", f.name, err)
		}
	}
	news.Chosen = true
	for _, f := range set {
		_ = accept(f, &news) // who misses the news asks for it
	}
	return conf, nil
}

func newRingID() ring.RingID {
	var b [16]byte
	rand.Read(b[:])
	return ring.RingID(hex.EncodeToString(b[:]))
}

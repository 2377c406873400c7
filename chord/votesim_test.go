package chord

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord/ring"
)

// The founding of a ring under one seed: propose and vote as they are, on a
// network that loses questions and answers and delivers questions late, with
// members that crash and with views of who is there that differ.

var errLost = errors.New("lost")

type foundingSim struct {
	t       *testing.T
	rng     *rand.Rand
	expect  int
	faults  bool
	time    uint64
	members []*simFounder
	late    []func()
	rings   map[ring.RingID]*ring.Configuration // that were chosen
}

type simFounder struct {
	sim   *foundingSim
	me    ring.Member
	vote  *vote
	kept  *founding           // durable
	ring  *ring.Configuration // durable
	steps func() (struct{}, bool)
	stop  func()
}

func newFoundingSim(t *testing.T, seed uint64, members, expect int) *foundingSim {
	s := &foundingSim{t: t, rng: rand.New(rand.NewPCG(seed, 1)), expect: expect, faults: true, rings: map[ring.RingID]*ring.Configuration{}}
	for i := range members {
		m := &simFounder{sim: s, me: voter(i)}
		m.start()
		s.members = append(s.members, m)
	}
	return s
}

// start is what a member does when its process starts: promises are gone.
func (m *simFounder) start() {
	m.vote = memoryVote(&m.kept)
	if m.kept != nil {
		m.vote.accepted, m.vote.promised, m.vote.set = m.kept, m.kept.Ballot, memberIDs(m.kept.Configuration)
	}
}

// crash ends the proposal under way and loses what is not durable.
func (m *simFounder) crash() {
	m.end()
	m.start()
}

func (m *simFounder) end() {
	if m.stop != nil {
		m.stop()
		m.steps, m.stop = nil, nil
	}
}

// turn does one step of the member: of its proposal, or a look around.
func (m *simFounder) turn() {
	if m.steps != nil {
		if _, more := m.steps(); !more {
			m.end()
		}
		return
	}
	if m.ring != nil {
		return
	}
	var there []*simFounder
	went := map[ring.ID]ring.RingID{}
	for _, o := range m.sim.members {
		if o != m && m.sim.faults && m.sim.rng.IntN(3) == 0 {
			continue // not seen yet
		}
		if o.ring != nil {
			went[o.me.ID] = o.ring.RingID
		} else {
			there = append(there, o)
		}
	}
	for _, o := range m.sim.members {
		if _, seen := went[o.me.ID]; seen && m.vote.free(o.ring, went) {
			m.install(o.ring)
			return
		}
	}
	var set []founder
	if bound := m.vote.bound(); bound != nil {
		for _, b := range bound.New.Members {
			set = append(set, founder{b.ID, b.Name})
		}
	} else if len(there) >= m.sim.expect && there[0] == m && len(went) == 0 {
		for _, o := range there[:m.sim.expect] {
			set = append(set, founder{o.me.ID, o.me.Name})
		}
	}
	if set != nil {
		m.steps, m.stop = iter.Pull(m.proposal(set))
	}
}

// proposal runs propose; each question is a step.
func (m *simFounder) proposal(set []founder) iter.Seq[struct{}] {
	return func(yield func(struct{}) bool) {
		stopped := false
		ask := func(f founder, question func(*simFounder)) error {
			if stopped || !yield(struct{}{}) {
				stopped = true
				return errLost
			}
			to := m.sim.members[slices.IndexFunc(m.sim.members, func(o *simFounder) bool { return o.me.ID == f.id })]
			if !m.sim.faults || to == m {
				question(to)
				return nil
			}
			switch m.sim.rng.IntN(12) {
			case 0:
				return errLost
			case 1: // the answer is lost
				question(to)
				return errLost
			case 2: // it arrives after the proposer has given up
				m.sim.late = append(m.sim.late, func() { question(to) })
				return errLost
			}
			question(to)
			return nil
		}
		conf, err := propose(set, m.vote.ballot(m.sim.time, m.me.ID.Node()), 3,
			func(f founder, req *prepareRing) (p promiseRing, err error) {
				err = ask(f, func(to *simFounder) {
					if p = (promiseRing{Refused: "has a ring"}); to.ring == nil {
						p = to.vote.prepare(req, to.me)
					}
				})
				return p, err
			},
			func(f founder, req *acceptRing) error {
				if req.Chosen {
					c, err := ring.DecodeConfiguration(req.Configuration)
					require.NoError(m.sim.t, err)
					m.sim.rings[c.RingID] = c
				}
				var answer error
				err := ask(f, func(to *simFounder) { answer = to.onAccept(req) })
				return errors.Join(err, answer)
			})
		if r := (*refusedError)(nil); errors.As(err, &r) {
			m.vote.raise(r.above)
		}
		if err == nil && !stopped {
			m.install(conf)
		}
	}
}

func (m *simFounder) onAccept(req *acceptRing) error {
	conf, err := ring.DecodeConfiguration(req.Configuration)
	require.NoError(m.sim.t, err)
	switch bound := m.vote.bound(); {
	case req.Chosen && (bound == nil || bound.RingID != conf.RingID):
		return errors.New("not accepted")
	case req.Chosen:
		m.install(conf)
		return nil
	case m.ring != nil:
		return errors.New("has a ring")
	}
	return m.vote.accept(req.Ballot, conf)
}

func (m *simFounder) install(conf *ring.Configuration) {
	if m.ring != nil {
		require.Equal(m.sim.t, m.ring.RingID, conf.RingID, "%s is in two rings", m.me.Name)
	}
	require.Contains(m.sim.t, m.sim.rings, conf.RingID, "%s installs what was not chosen", m.me.Name)
	m.ring = conf
}

// step lets one thing happen.
func (s *foundingSim) step() {
	s.time += uint64(s.rng.IntN(3))
	m := s.members[s.rng.IntN(len(s.members))]
	switch n := s.rng.IntN(40); {
	case s.faults && n == 0:
		m.crash()
	case n < 3 && len(s.late) > 0:
		i := s.rng.IntN(len(s.late))
		deliver := s.late[i]
		s.late = slices.Delete(s.late, i, i+1)
		deliver()
	default:
		m.turn()
	}
	founders := map[ring.ID]ring.RingID{}
	for id, c := range s.rings {
		require.Len(s.t, c.New.Members, s.expect)
		for _, f := range c.New.Members {
			require.NotContains(s.t, founders, f.ID, "%s founded two rings", f.Name)
			founders[f.ID] = id
		}
	}
}

// settled reports whether everybody has a ring.
func (s *foundingSim) settled() bool {
	return !slices.ContainsFunc(s.members, func(m *simFounder) bool { return m.ring == nil })
}

func TestFoundingSimulation(t *testing.T) {
	type shape struct{ members, expect int }
	two := 0
	for _, sh := range []shape{{3, 3}, {4, 3}, {5, 3}, {2, 1}, {6, 3}, {5, 5}, {6, 5}} {
		t.Run(fmt.Sprintf("%d members expect %d", sh.members, sh.expect), func(t *testing.T) {
			for seed := range uint64(300) {
				s := newFoundingSim(t, seed, sh.members, sh.expect)
				for range 50 + s.rng.IntN(400) {
					s.step()
				}
				s.faults = false
				for n := 0; !s.settled(); n++ {
					require.Less(t, n, 5000, "seed %d: not everybody has a ring", seed)
					s.step()
				}
				for _, m := range s.members {
					m.end()
					for id, c := range s.rings {
						if _, founder := c.Member(m.me.ID); founder {
							require.Equal(t, id, m.ring.RingID, "seed %d: a founder is in another ring", seed)
						}
					}
				}
				if sh.members < 2*sh.expect {
					require.Len(t, s.rings, 1, "seed %d", seed)
				} else if len(s.rings) > 1 {
					two++
				}
			}
		})
	}
	t.Logf("%d runs made two rings, all where two sets of founders have nobody in common", two)
}

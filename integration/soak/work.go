package soak

import (
	"context"
	"fmt"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/bank"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/load"
	"github.com/chord-plugin/chord-plugin/integration/locks"
)

// must is what the members have to be able to do.
const must = backend.CanWatch | backend.CanTransact | backend.CanLock | backend.CanFence

// startWork lets clients work at all members, as soon as these are there.
func (s *soak) startWork(ctx context.Context) error {
	targets, err := s.targets(s.ring.Members)
	if err != nil {
		return err
	}
	can := backend.CapabilitiesOf(targets[0].Backend)
	s.say("the members can: %v", can)
	if !can.Has(must) {
		return fmt.Errorf("the members can %v and should: %v", can, must)
	}
	if s.bank, err = bank.Open(ctx, bank.Config{Seed: s.cfg.Seed, Think: 400 * time.Millisecond}, targets...); err != nil {
		return err
	}
	s.crews = append(s.crews, s.bank.Crew)
	s.locks = locks.Start(locks.Config{Seed: s.cfg.Seed, Locks: 3, Clients: 6}, targets...)
	s.crews = append(s.crews, s.locks.Crew)
	s.load = load.Start(load.Config{
		Seed: s.cfg.Seed, Keys: 12, Generation: 15 * time.Second, Ledger: 60, Think: 120 * time.Millisecond, ListEvery: 2 * time.Second,
	}, targets...)
	s.crews = append(s.crews, s.load.Crew)
	for _, m := range s.ring.Members {
		s.set(m, out)
	}
	for _, m := range s.ring.Founders() {
		s.set(m, up)
	}
	return nil
}

// judge reads everything back at targets and says why what was seen cannot be.
type judge func(context.Context, ...crew.Target) error

// stopWork ends the clients and returns who judges what they saw.
func (s *soak) stopWork() (judges []judge) {
	report := s.load.Stop()
	s.say("%s; by then %d keys were kept and %d deleted", report, report.Acknowledged(), report.Deleted())
	judges = append(judges, report.Judge)
	money := s.bank.Stop()
	s.say("the bank: %s", money)
	judges = append(judges, money.Judge)
	held := s.locks.Stop()
	s.say("the locks: %s", held)
	judges = append(judges, held.Judge)
	return judges
}

func (s *soak) targets(members []*cluster.Member) ([]crew.Target, error) {
	var targets []crew.Target
	for _, m := range members {
		c, err := m.Client()
		if err != nil {
			return nil, err
		}
		targets = append(targets, crew.Target{Name: m.Name, Backend: c})
	}
	return targets, nil
}

// touch writes all accounts of the bank at a member, while the bank rests:
// transactions that nobody ends any more are not in the way for longer than they may
// last.
func (s *soak) touch(ctx context.Context, m *cluster.Member) error {
	for _, at := range s.in(up) {
		s.bank.Rest(at.Name)
		defer s.bank.Wake(at.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	targets, err := s.targets([]*cluster.Member{m})
	if err != nil {
		return err
	}
	if err := s.bank.Touch(ctx, targets[0]); err != nil {
		return fmt.Errorf("with the ring final: %w", err)
	}
	return nil
}

// set notes where a member is, and lets its clients work or rest.
func (s *soak) set(m *cluster.Member, to state) {
	s.state[m] = to
	if to != up {
		s.rest(m)
		return
	}
	for _, c := range s.crews {
		c.Wake(m.Name)
	}
}

// rest lets the clients of a member rest.
func (s *soak) rest(m *cluster.Member) {
	for _, c := range s.crews {
		c.Rest(m.Name)
	}
}

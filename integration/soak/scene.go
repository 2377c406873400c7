package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

// scene is something that happens to the ring. When it has played, every member
// is in the state that is noted of it, but the ring may still be changing.
type scene struct {
	name string
	fits func(*soak) bool
	play func(*soak, context.Context, *rand.Rand) error
}

// scenes are all of them. Those that change the ring have members in trouble
// meanwhile, where the ring can bear it.
var scenes = []scene{
	{"join", func(s *soak) bool { return len(s.in(out)) > 0 }, (*soak).join},
	{"join again", func(s *soak) bool { return len(s.in(out)) > 0 }, (*soak).join},
	{"leave", mayShrink, (*soak).leave},
	{"come and go", func(s *soak) bool { return mayShrink(s) && len(s.in(out)) > 0 }, (*soak).comeAndGo},
	{"remove", func(s *soak) bool { return mayShrink(s) && s.spare(0, -1) > 0 }, (*soak).remove},
	{"remove one that returns", func(s *soak) bool { return mayShrink(s) && s.spare(0, -1) > 0 }, (*soak).removeReturning},
	{"remove one that is cut off", func(s *soak) bool { return mayShrink(s) && s.spare(0, -1) > 0 }, (*soak).removeCutOff},
	{"wipe", oneToLose, (*soak).wipe},
	{"joiner dies", func(s *soak) bool { return len(s.in(out)) > 0 && s.spare(0, 1) > 0 }, (*soak).joinerDies},
	{"trouble", oneToLose, (*soak).trouble},
	{"more trouble", oneToLose, (*soak).trouble},
	{"stay down", func(s *soak) bool { return oneToLose(s) && len(s.in(down)) == 0 }, (*soak).stayDown},
	{"revive", func(s *soak) bool { return len(s.in(down)) > 0 }, (*soak).revive},
	{"restart often", oneToLose, (*soak).restartOften},
}

// mayShrink: one may go.
func mayShrink(s *soak) bool { return len(s.in(up)) > fewest }

func oneToLose(s *soak) bool { return s.spare(0) > 0 }

// faults is how many of n members may be gone: of 5 copies 2, of 4 and 3 copies 1.
func faults(n int) int {
	copies := min(n, 5)
	return copies - (copies/2 + 1)
}

// spare is how many more members may be gone while the ring is by so many members
// larger or smaller than it is. Those that are down count, though the ring may
// have taken them out.
func (s *soak) spare(by ...int) int {
	n, gone := len(s.in(up))+len(s.in(down)), len(s.in(down))
	least := n
	for _, d := range by {
		least = min(least, faults(n+d)-gone)
	}
	return max(least, 0)
}

// some draws n of the members.
func some(r *rand.Rand, members []*cluster.Member, n int) []*cluster.Member {
	members = slices.Clone(members)
	r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return members[:min(n, len(members))]
}

// but returns the members without some.
func but(members []*cluster.Member, without ...*cluster.Member) []*cluster.Member {
	return slices.DeleteFunc(slices.Clone(members), func(m *cluster.Member) bool { return slices.Contains(without, m) })
}

// upTo draws a time.
func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }

// sleep waits; the error is that of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start starts members that are to be up.
func (s *soak) start(ctx context.Context, members ...*cluster.Member) error {
	for _, m := range members {
		s.say("   start %s", m.Name)
		if err := m.Start(); err != nil {
			return err
		}
		s.set(m, up)
	}
	for _, m := range members {
		if err := m.WaitServing(ctx); err != nil {
			return err
		}
	}
	return nil
}

// join lets one or two join.
func (s *soak) join(ctx context.Context, r *rand.Rand) error {
	joiners := some(r, s.in(out), 1+r.IntN(2))
	return s.during(ctx, r, s.in(up), s.spare(0, len(joiners)), func() error { return s.start(ctx, joiners...) })
}

// leave lets one leave.
func (s *soak) leave(ctx context.Context, r *rand.Rand) error {
	leaver := some(r, s.in(up), 1)[0]
	return s.during(ctx, r, but(s.in(up), leaver), s.spare(0, -1), func() error { return s.goes(ctx, leaver) })
}

func (s *soak) goes(ctx context.Context, leaver *cluster.Member) error {
	begun := s.now()
	s.say("   leave %s", leaver.Name)
	if err := leaver.Leave(ctx); err != nil {
		return err
	}
	s.say("   %s has left after %v", leaver.Name, (s.now() - begun).Round(time.Millisecond))
	s.set(leaver, out)
	return nil
}

// comeAndGo lets one or two join while one leaves.
func (s *soak) comeAndGo(ctx context.Context, r *rand.Rand) error {
	leaver := some(r, s.in(up), 1)[0]
	joiners := some(r, s.in(out), 1+r.IntN(2))
	return s.during(ctx, r, but(s.in(up), leaver), s.spare(-1, 0, len(joiners)), func() error {
		left := make(chan error, 1)
		s.say("   leave %s", leaver.Name)
		go func() { left <- leaver.Leave(ctx) }()
		err := s.start(ctx, joiners...)
		if err := errors.Join(err, <-left); err != nil {
			return err
		}
		s.say("   %s has left", leaver.Name)
		s.set(leaver, out)
		return nil
	})
}

// remove removes a dead one for good.
func (s *soak) remove(ctx context.Context, r *rand.Rand) error {
	return s.removeDead(ctx, r, func(m *cluster.Member) error {
		s.set(m, out)
		return m.Wipe()
	})
}

// removeReturning removes a dead one, which then returns with what it had.
func (s *soak) removeReturning(ctx context.Context, r *rand.Rand) error {
	return s.removeDead(ctx, r, func(m *cluster.Member) error { return s.start(ctx, m) })
}

// removeDead kills one and removes it while others are in trouble.
func (s *soak) removeDead(ctx context.Context, r *rand.Rand, then func(*cluster.Member) error) error {
	drawn := some(r, s.in(up), 2)
	dead, asked := drawn[0], drawn[1]
	spare := s.spare(0, -1)
	s.say("   kill %s", dead.Name)
	if err := dead.Kill(); err != nil {
		return err
	}
	s.rest(dead)
	return s.during(ctx, r, but(s.in(up), dead, asked), spare-1, func() error {
		if err := s.drop(ctx, asked, dead); err != nil {
			return err
		}
		return then(dead)
	})
}

// drop asks one member to remove another, as soon as that is seen dead.
func (s *soak) drop(ctx context.Context, asked, dead *cluster.Member) error {
	return cluster.Wait(ctx, "the removal of "+dead.Name, func(ctx context.Context) error {
		report, err := asked.Remove(ctx, backend.RemoveRequest{Names: []string{dead.Name}})
		if err == nil {
			s.say("   %s removes %s in epoch %d", asked.Name, dead.Name, report.Epoch)
			return nil
		}
		ring, look := asked.Ring(ctx)
		if look == nil && !slices.ContainsFunc(ring.Members, func(m backend.RingMember) bool { return m.Name == dead.Name }) {
			s.say("   %s is out of the ring already", dead.Name)
			return nil
		}
		return err
	})
}

// removeCutOff removes one that is cut off and lives, and heals the network.
func (s *soak) removeCutOff(ctx context.Context, r *rand.Rand) error {
	drawn := some(r, s.in(up), 2)
	lonely, asked := drawn[0], drawn[1]
	s.say("   cut off %s", lonely.Name)
	s.ring.Network.Cut([]*cluster.Member{lonely})
	err := s.drop(ctx, asked, lonely)
	if err == nil {
		err = sleep(ctx, upTo(r, 3*time.Second))
	}
	s.say("   heal")
	s.ring.Network.Heal()
	return err
}

// wipe kills one and lets it come back under its name with an empty directory.
func (s *soak) wipe(ctx context.Context, r *rand.Rand) error {
	m := some(r, s.in(up), 1)[0]
	spare := s.spare(0)
	s.say("   kill and wipe %s", m.Name)
	if err := errors.Join(m.Kill(), m.Wipe()); err != nil {
		return err
	}
	return s.during(ctx, r, but(s.in(up), m), spare-1, func() error {
		if err := sleep(ctx, upTo(r, 8*time.Second)); err != nil {
			return err
		}
		return s.start(ctx, m)
	})
}

// joinerDies kills one that joins, and starts it again.
func (s *soak) joinerDies(ctx context.Context, r *rand.Rand) error {
	m := some(r, s.in(out), 1)[0]
	s.say("   start %s", m.Name)
	if err := m.Start(); err != nil {
		return err
	}
	s.set(m, up)
	if err := sleep(ctx, upTo(r, 3*time.Second)); err != nil {
		return err
	}
	s.say("   kill %s", m.Name)
	if err := m.Kill(); err != nil {
		return err
	}
	if err := sleep(ctx, upTo(r, 8*time.Second)); err != nil {
		return err
	}
	return s.start(ctx, m)
}

// trouble makes trouble for as many as the ring can bear.
func (s *soak) trouble(ctx context.Context, r *rand.Rand) error {
	return s.harm(ctx, r, some(r, s.in(up), 1+r.IntN(s.spare(0))))
}

// stayDown kills one that stays down for the next scenes.
func (s *soak) stayDown(ctx context.Context, r *rand.Rand) error {
	m := some(r, s.in(up), 1)[0]
	s.say("   kill %s, which stays down", m.Name)
	if err := m.Kill(); err != nil {
		return err
	}
	s.set(m, down)
	return sleep(ctx, upTo(r, 5*time.Second))
}

// revive starts those that are down.
func (s *soak) revive(ctx context.Context, _ *rand.Rand) error { return s.start(ctx, s.in(down)...) }

const (
	// restarts of one member come within a minute.
	restarts     = 20
	restartPause = 2 * time.Second
)

// restartOften restarts one member many times while others join and leave.
func (s *soak) restartOften(ctx context.Context, r *rand.Rand) error {
	m := some(r, s.in(up), 1)[0]
	others := but(s.in(up), m)
	s.say("   restart %s %d times", m.Name, restarts)
	done := make(chan error, 1)
	own := rand.New(rand.NewPCG(r.Uint64(), 0))
	go func() { done <- s.restart(ctx, own, m) }()
	for range 2 {
		if err := errors.Join(sleep(ctx, upTo(r, 5*time.Second)), s.change(ctx, r, others)); err != nil {
			return errors.Join(err, <-done)
		}
	}
	return <-done
}

// change lets one join, or one of those given leave.
func (s *soak) change(ctx context.Context, r *rand.Rand, leavers []*cluster.Member) error {
	joiners := s.in(out)
	leavers = slices.DeleteFunc(slices.Clone(leavers), func(m *cluster.Member) bool { return s.state[m] != up })
	mayLeave := len(leavers) > 0 && mayShrink(s) && s.spare(0, -1) > 0
	switch {
	case mayLeave && (len(joiners) == 0 || r.IntN(2) == 0):
		return s.goes(ctx, some(r, leavers, 1)[0])
	case len(joiners) > 0:
		return s.start(ctx, some(r, joiners, 1)...)
	}
	return nil
}

func (s *soak) restart(ctx context.Context, r *rand.Rand, m *cluster.Member) error {
	begun := s.now()
	for n := range restarts {
		if err := m.Kill(); err != nil {
			return err
		}
		if err := m.Start(); err != nil {
			return err
		}
		if n == restarts-1 || r.IntN(2) == 0 {
			if err := m.WaitServing(ctx); err != nil {
				return fmt.Errorf("restart %d: %w", n+1, err)
			}
		}
		if err := sleep(ctx, upTo(r, restartPause)); err != nil {
			return err
		}
	}
	s.say("   %d restarts of %s in %v", restarts, m.Name, (s.now() - begun).Round(time.Millisecond))
	return nil
}

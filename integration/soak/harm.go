package soak

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

// harmDelay is how long after the beginning of a change harm is done at most,
// harmTime how long it lasts.
const (
	harmDelay = 1500 * time.Millisecond
	harmTime  = 8 * time.Second
)

// during does something, and harm to up to most of the members meanwhile, which
// has ended when it returns.
func (s *soak) during(ctx context.Context, r *rand.Rand, members []*cluster.Member, most int, do func() error) error {
	var victims []*cluster.Member
	if most > 0 {
		victims = some(r, members, r.IntN(most+1))
	}
	// What both draw must not depend on who is first.
	own := rand.New(rand.NewPCG(r.Uint64(), 0))
	harmed := make(chan error, 1)
	go func() {
		if len(victims) == 0 {
			harmed <- nil
			return
		}
		if err := sleep(ctx, upTo(own, harmDelay)); err != nil {
			harmed <- err
			return
		}
		harmed <- s.harm(ctx, own, victims)
	}()
	err := do()
	return errors.Join(err, <-harmed)
}

// harm does harm of one kind to members for a while, and ends it.
func (s *soak) harm(ctx context.Context, r *rand.Rand, victims []*cluster.Member) error {
	switch r.IntN(3) {
	case 0:
		return s.crash(ctx, r, victims)
	case 1:
		return s.freeze(ctx, r, victims)
	}
	s.say("   cut off %s", names(victims))
	s.ring.Network.Cut(victims)
	err := sleep(ctx, upTo(r, harmTime))
	s.say("   heal")
	s.ring.Network.Heal()
	return err
}

// crash kills members and starts them again.
func (s *soak) crash(ctx context.Context, r *rand.Rand, victims []*cluster.Member) error {
	s.say("   kill %s", names(victims))
	for _, m := range victims {
		if err := m.Kill(); err != nil {
			return err
		}
	}
	if err := sleep(ctx, upTo(r, harmTime)); err != nil {
		return err
	}
	s.say("   start %s", names(victims))
	for _, m := range victims {
		if err := m.Start(); err != nil {
			return err
		}
	}
	for _, m := range victims {
		if err := m.WaitServing(ctx); err != nil {
			return err
		}
	}
	return nil
}

// freeze stops members and lets them go on.
func (s *soak) freeze(ctx context.Context, r *rand.Rand, victims []*cluster.Member) error {
	s.say("   freeze %s", names(victims))
	for _, m := range victims {
		if err := m.Freeze(); err != nil {
			return err
		}
	}
	err := sleep(ctx, upTo(r, harmTime))
	s.say("   thaw %s", names(victims))
	for _, m := range victims {
		err = errors.Join(err, m.Thaw())
	}
	return err
}

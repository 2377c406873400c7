// Package soak lets a ring of real processes live through whatever happens to
// rings, at random: members join, leave, are removed, killed, frozen, cut off,
// wiped and restarted, while clients work at all of them. One seed repeats the
// schedule.
//
// It never takes away more than the ring can lose at a time, so everything must
// go on, and everything acknowledged must be there in the end.
package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/bank"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/load"
	"github.com/chord-plugin/chord-plugin/integration/locks"
)

const (
	// founders found the ring; fewest and most are how small and how large it gets.
	founders = 3
	fewest   = 3
	most     = 8
	// reapAfter is how long a member is dead before the ring takes it out by itself.
	reapAfter = 20 * time.Second
	// scenePatience bounds one scene, without the wait for the ring after it.
	scenePatience = 2 * time.Minute
	// settlePatience is how long the ring may take to become final after a scene.
	settlePatience = time.Minute
	// probePatience is how long an operation may take once it is.
	probePatience = 10 * time.Second
	// verifyPatience is how long it may take in the end until all copies are alike.
	verifyPatience = 2 * time.Minute
	// judgePatience bounds the reading of all keys in the end.
	judgePatience = 5 * time.Minute
	// verifyPause is between two looks at the copies.
	verifyPause = 500 * time.Millisecond
	// ballast is how many keys of ballastSize bytes there are besides, which nobody
	// changes, and syncRate, in bytes a second, lets a newcomer copy them for a few
	// seconds, so that something may happen meanwhile.
	ballast     = 1500
	ballastSize = 4 << 10
	syncRate    = 2 << 20
	// loaders read and write the ballast side by side.
	loaders = 8
	// tailLines is how much of each log is shown when a run has failed.
	tailLines = 60
)

// Config says what to run.
type Config struct {
	// Binary is the chord-plugin binary, Dir an empty directory for data and logs.
	Binary, Dir string
	// Seed makes the schedule.
	Seed uint64
	// Duration is how long scenes begin.
	Duration time.Duration
	// Say is told what happens, a line each, with its time.
	Say func(line string)
}

// state is where a member is between two scenes.
type state int

const (
	// out: it is no member, has no data and does not run.
	out state = iota
	// up: it is a member and runs.
	up
	// down: it does not run; it is a member, unless the ring has taken it out.
	down
)

// soak is one run.
type soak struct {
	cfg   Config
	ring  *cluster.Cluster
	load  *load.Load
	bank  *bank.Bank
	locks *locks.Locks // nil: the members cannot
	crews []*crew.Crew // all who work at the members
	state map[*cluster.Member]state
	begun time.Time
	ran   map[string]int // scenes, by name
}

// Run runs a soak. The error says what went wrong in the ring.
func Run(ctx context.Context, cfg Config) (err error) {
	s := &soak{cfg: cfg, state: map[*cluster.Member]state{}, ran: map[string]int{}, begun: time.Now()}
	s.ring, err = cluster.New(cluster.Config{
		Binary: cfg.Binary, Dir: cfg.Dir, Members: most, Founders: founders, Proxied: true,
		Args: []string{"-dead-member-reap-after", reapAfter.String(), "-sync-rate", fmt.Sprint(syncRate)},
	})
	if err != nil {
		return err
	}
	s.say("seed %d, %v", cfg.Seed, cfg.Duration)
	defer func() {
		err = errors.Join(err, s.ring.Close())
		if err != nil {
			s.say("FAILED with seed %d after %v: %v", cfg.Seed, s.now(), err)
			for _, m := range s.ring.Members {
				s.say("the end of the log of %s:\n%s", m.Name, m.Tail(tailLines))
			}
		}
	}()
	if err := s.ring.Start(ctx); err != nil {
		return err
	}
	if err := s.each(ctx, s.ring.Founders(), func(ctx context.Context, b backend.Backend, key string) error {
		_, err := b.Put(ctx, key, ballastOf(key), backend.PutOptions{})
		return err
	}); err != nil {
		return err
	}
	if err := s.startWork(ctx); err != nil {
		return err
	}
	err = s.play(ctx)
	judges := s.stopWork()
	if err != nil {
		return err
	}
	return s.check(ctx, judges)
}

// play plays scenes until the time is over, then revives who is down. The scenes
// come as from a deck of cards that is shuffled when all were played.
func (s *soak) play(ctx context.Context) error {
	deck := rand.New(rand.NewPCG(s.cfg.Seed, 0))
	var cards []scene
	for n := uint64(1); s.now() < s.cfg.Duration; n++ {
		i := slices.IndexFunc(cards, func(c scene) bool { return c.fits(s) })
		if i < 0 {
			cards = slices.Clone(scenes)
			deck.Shuffle(len(cards), func(i, j int) { cards[i], cards[j] = cards[j], cards[i] })
			continue
		}
		card := cards[i]
		cards = slices.Delete(cards, i, i+1)
		if err := s.playOne(ctx, card, rand.New(rand.NewPCG(s.cfg.Seed, n))); err != nil {
			return fmt.Errorf("scene %d (%s): %w", n, card.name, err)
		}
	}
	var count []string
	for _, c := range scenes {
		count = append(count, fmt.Sprintf("%s %d", c.name, s.ran[c.name]))
	}
	s.say("scenes: %s", strings.Join(count, ", "))
	if len(s.in(down)) > 0 {
		return s.playOne(ctx, scene{name: "revive", play: (*soak).revive}, rand.New(rand.NewPCG(s.cfg.Seed, 0)))
	}
	return nil
}

func (s *soak) playOne(ctx context.Context, c scene, r *rand.Rand) error {
	s.say("-- %s; up: %s; down: %s", c.name, names(s.in(up)), names(s.in(down)))
	s.ran[c.name]++
	playing, cancel := context.WithTimeout(ctx, scenePatience)
	defer cancel()
	if err := c.play(s, playing, r); err != nil {
		return err
	}
	return s.settle(ctx)
}

// settle waits until all who are up work by the same final ring, and serve.
func (s *soak) settle(ctx context.Context) error {
	begun := s.now()
	waiting, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	members := s.in(up)
	ring, err := cluster.WaitRing(waiting, members, s.in(down))
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := s.probe(ctx, m); err != nil {
			return err
		}
	}
	if err := s.touch(ctx, members[0]); err != nil {
		return err
	}
	s.say("   epoch %d is final after %v: %d members, up: %s", ring.Epoch, (s.now() - begun).Round(time.Millisecond), len(ring.Members), names(members))
	return nil
}

// probe writes and reads a key at a member.
func (s *soak) probe(ctx context.Context, m *cluster.Member) error {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	targets, err := s.targets([]*cluster.Member{m})
	if err != nil {
		return err
	}
	key, value := "probe/"+m.Name, fmt.Sprint(s.now())
	if _, err := targets[0].Backend.Put(ctx, key, []byte(value), backend.PutOptions{}); err != nil {
		return fmt.Errorf("a put at %s, with the ring final: %w", m.Name, err)
	}
	e, err := targets[0].Backend.Get(ctx, key, backend.GetOptions{})
	switch {
	case err != nil:
		return fmt.Errorf("a get at %s, with the ring final: %w", m.Name, err)
	case e == nil || string(e.Value) != value:
		return fmt.Errorf("a get at %s of what was just put there: it is gone, or another", m.Name)
	}
	return nil
}

// check looks at everything in the end: the copies, and what the clients saw.
func (s *soak) check(ctx context.Context, judges []judge) error {
	members := s.in(up)
	judging, cancel := context.WithTimeout(ctx, judgePatience)
	defer cancel()
	targets, err := s.targets(members)
	if err != nil {
		return err
	}
	for _, judge := range judges {
		if err := judge(judging, targets...); err != nil {
			return fmt.Errorf("what the clients saw: %w", err)
		}
	}
	s.say("what the clients saw can be true")

	if err := s.each(judging, members, func(ctx context.Context, b backend.Backend, key string) error {
		e, err := b.Get(ctx, key, backend.GetOptions{})
		if err == nil && (e == nil || !bytes.Equal(e.Value, ballastOf(key))) {
			err = fmt.Errorf("LOST: %q, written before the first scene", key)
		}
		return err
	}); err != nil {
		return err
	}

	verifying, cancel := context.WithTimeout(ctx, verifyPatience)
	defer cancel()
	begun := s.now()
	keys := 0
	for {
		if keys, err = alike(verifying, members[0]); err == nil {
			break
		}
		if late := sleep(verifying, verifyPause); late != nil {
			return fmt.Errorf("the copies did not become alike in %v: %w", verifyPatience, err)
		}
	}
	s.say("verify is clean after %v: %d keys", (s.now() - begun).Round(time.Millisecond), keys)
	command := exec.CommandContext(verifying, s.cfg.Binary, "verify", "-http-addr", members[len(members)-1].HTTPAddr)
	command.Env = []string{}
	said, err := command.CombinedOutput()
	s.say("chord-plugin verify: %s", strings.TrimSpace(string(said)))
	if err != nil {
		return fmt.Errorf("chord-plugin verify: %w: %s", err, said)
	}
	return nil
}

// alike says why not all copies are alike, as one member sees it, and counts the
// keys.
func alike(ctx context.Context, m *cluster.Member) (keys int, err error) {
	page, err := m.Verify(ctx, false)
	switch {
	case err != nil:
		return 0, err
	case len(page.Silent) > 0:
		return 0, fmt.Errorf("%v do not answer", page.Silent)
	case len(page.Problems) > 0:
		return 0, fmt.Errorf("%d of %d keys are not alike, such as %+v", len(page.Problems), page.Keys, page.Problems[0])
	}
	return page.Keys, nil
}

// each calls f with every key of the ballast, at one member after the other.
func (s *soak) each(ctx context.Context, members []*cluster.Member, f func(context.Context, backend.Backend, string) error) error {
	targets, err := s.targets(members)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, loaders)
	for w := range loaders {
		wg.Go(func() {
			for i := w; i < ballast && errs[w] == nil; i += loaders {
				ctx, cancel := context.WithTimeout(ctx, probePatience)
				errs[w] = f(ctx, targets[i%len(targets)].Backend, fmt.Sprintf("ballast/%d", i))
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// ballastOf is the value of a key of the ballast.
func ballastOf(key string) []byte {
	return bytes.Repeat([]byte(key+";"), ballastSize/(len(key)+1))
}

// in returns the members in a state, in the order of their names.
func (s *soak) in(want state) []*cluster.Member {
	var members []*cluster.Member
	for _, m := range s.ring.Members {
		if s.state[m] == want {
			members = append(members, m)
		}
	}
	return members
}

func (s *soak) now() time.Duration { return time.Since(s.begun) }

// say tells what happens.
func (s *soak) say(format string, args ...any) {
	s.cfg.Say(fmt.Sprintf("%7.2f %s %s", s.now().Seconds(), time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...)))
}

func names(members []*cluster.Member) string {
	if len(members) == 0 {
		return "none"
	}
	var s []string
	for _, m := range members {
		s = append(s, m.Name)
	}
	return strings.Join(s, " ")
}

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	placing "github.com/chord-plugin/chord-plugin/chord/ring"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

// The tests of a ring that changes have some megabytes to copy, at a rate that
// leaves some seconds to do harm.
const (
	heavyKeys = 1000
	heavySize = 8 << 10
	slowSync  = "1MiB"
)

// atOnce lets a member copy as fast as it can when it is started again.
var atOnce = []string{"-sync-rate", "1GiB"}

// slowly founds a ring of n of six members, with something to copy.
func slowly(n int, more ...func(*cluster.Config)) []func(*cluster.Config) {
	return append(more, func(c *cluster.Config) {
		c.Members, c.Founders = 6, n
		c.Args = append(c.Args, "-sync-rate", slowSync)
	})
}

// fill writes so many keys of so many bytes and returns them.
func (r *ring) fill(n, size int) []string {
	r.t.Helper()
	const writers = 8
	keys := make([]string, n)
	targets := r.targets(r.Founders()...)
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += writers {
				keys[i] = fmt.Sprintf("filled/%05d", i)
				_, errs[w] = targets[i%len(targets)].Backend.Put(r.ctx, keys[i], filled(keys[i], size), backend.PutOptions{})
			}
		})
	}
	wg.Wait()
	r.must(errors.Join(errs...))
	return keys
}

func filled(key string, size int) []byte {
	return bytes.Repeat([]byte(key), size/len(key)+1)[:size]
}

// requireFilled reads what was filled at a member.
func (r *ring) requireFilled(keys []string, size int, m *cluster.Member) {
	r.t.Helper()
	api := r.targets(m)[0].Backend
	for _, key := range keys {
		e, err := api.Get(r.ctx, key, backend.GetOptions{})
		r.must(err)
		require.NotNil(r.t, e, "%s is lost at %s", key, m.Name)
		require.Equal(r.t, filled(key, size), e.Value, key)
	}
}

// final waits until the members work by one final ring of exactly them.
func (r *ring) final(members ...*cluster.Member) *backend.Ring {
	r.t.Helper()
	begun := time.Now()
	shape, err := cluster.WaitRing(r.ctx, members, nil)
	r.must(err)
	r.t.Logf("epoch %d is final for %d members after %d ms", shape.Epoch, len(shape.Members), time.Since(begun).Milliseconds())
	return shape
}

// verify waits until all copies of everything are alike.
func (r *ring) verify() {
	r.t.Helper()
	r.must(cluster.Wait(r.ctx, "all copies to be alike", func(ctx context.Context) error {
		page, err := r.Members[0].Verify(ctx, false)
		switch {
		case err != nil:
			return err
		case len(page.Silent) > 0 || len(page.Problems) > 0:
			return fmt.Errorf("%d of %d keys are not alike; %v do not answer", len(page.Problems), page.Keys, page.Silent)
		}
		return nil
	}))
}

func (r *ring) idOf(m *cluster.Member) string {
	r.t.Helper()
	s, err := m.Status(r.ctx)
	r.must(err)
	return s.ID
}

// midway starts a member and waits until it has copied a part of what it is to own.
func (r *ring) midway(joiner *cluster.Member) {
	r.t.Helper()
	r.must(joiner.Start())
	r.must(cluster.Wait(r.ctx, joiner.Name+" to be in the midst of its copying", func(ctx context.Context) error {
		shape, err := r.Members[0].Ring(ctx)
		if err != nil {
			return err
		}
		for _, m := range shape.Members {
			if m.Name == joiner.Name && m.Sync != nil && m.Sync.Keys > 0 {
				require.False(r.t, m.Synced, "it has everything already")
				return nil
			}
		}
		return errors.New("it copies nothing")
	}))
}

// TestJoinerDiesInSync kills a newcomer while it copies: the change is undone, the
// others do not feel it, and when it is started again it joins.
func TestJoinerDiesInSync(t *testing.T) {
	r := startRing(t, slowly(3)...)
	keys := r.fill(heavyKeys, heavySize)
	l := r.work()
	joiner := r.Members[3]
	r.midway(joiner)
	killed := l.Now()
	r.must(joiner.Kill())
	r.final(r.Founders()...)
	back := l.Now()
	t.Logf("the change is undone %d ms after the newcomer has died", (back - killed).Milliseconds())

	joiner.ExtraArgs = atOnce
	r.must(joiner.Start())
	r.final(r.Members[:4]...)
	report := l.Stop()
	r.requireGap(report, maxGap, killed, back, r.Founders()...)
	r.judgeAt(report, r.Members[:4])
	r.requireFilled(keys, heavySize, joiner)
	r.verify()
}

// TestPrimaryOfTheRingDies kills, in the midst of a change, the primary of the
// register that holds the ring's configuration: another member goes on.
func TestPrimaryOfTheRingDies(t *testing.T) {
	r := startRing(t, slowly(5)...)
	keys := r.fill(heavyKeys, heavySize)
	l := r.work()
	joiner := r.Members[5]
	r.midway(joiner)
	shape, err := r.Members[0].Ring(r.ctx)
	r.must(err)
	conf := &placing.Configuration{RingID: placing.RingID(shape.RingID), Epoch: shape.Epoch, Level: placing.Level}
	conf.New.Replicas = shape.Replicas
	for _, m := range shape.Members {
		id, err := placing.ParseID(m.ID)
		r.must(err)
		conf.New.Members = append(conf.New.Members, placing.Member{ID: id, Name: m.Name, Addr: m.Addr, Tokens: m.Tokens})
	}
	conf.Sort()
	// It may be the newcomer itself; then the first founder after it.
	var primary *cluster.Member
	for _, owner := range placing.NewPlacement(conf).Owners("\x00ring") {
		if owner.Name != joiner.Name {
			primary = r.Members[owner.Name[0]-'a']
			break
		}
	}
	killed := l.Now()
	r.must(primary.Kill())
	var living []*cluster.Member
	for _, m := range r.Members {
		if m != primary {
			living = append(living, m)
		}
	}
	_, err = cluster.WaitRing(r.ctx, living, []*cluster.Member{primary})
	r.must(err)
	over := l.Now()
	t.Logf("%s was killed; the change is over %d ms later", primary.Name, (over - killed).Milliseconds())
	r.must(primary.Start())
	r.final(r.Members...)
	report := l.Stop()
	for _, m := range living {
		if m != joiner {
			r.requireGap(report, maxGap, killed, over, m)
		}
	}
	r.judgeAt(report, r.Members)
	r.requireFilled(keys, heavySize, joiner)
	r.verify()
}

// TestChangeWithFaults asks for changes while members are down: with as many as
// the ring can do without they go through; with one more they wait, say for whom,
// and go through when one is back.
func TestChangeWithFaults(t *testing.T) {
	r := startRing(t, func(c *cluster.Config) { c.Members, c.Founders = 7, 5 })
	keys := r.fill(100, 100)
	a, b, c, d, e, f, g := r.Members[0], r.Members[1], r.Members[2], r.Members[3], r.Members[4], r.Members[5], r.Members[6]
	r.must(d.Kill())
	r.must(e.Kill())
	r.must(f.Start())
	_, err := cluster.WaitRing(r.ctx, []*cluster.Member{a, b, c, f}, []*cluster.Member{d, e})
	r.must(err)
	r.requireFilled(keys, 100, f)

	// Six members, of which three are down.
	r.must(c.Kill())
	r.must(g.Start())
	r.must(cluster.Wait(r.ctx, "the ring to say for whom it waits", func(ctx context.Context) error {
		shape, err := a.Ring(ctx)
		if err != nil {
			return err
		}
		for _, dead := range []*cluster.Member{c, d, e} {
			if !strings.Contains(shape.Change, dead.Name) {
				return fmt.Errorf("it says %q and not %s", shape.Change, dead.Name)
			}
		}
		t.Logf("it says: %s", shape.Change)
		return nil
	}))
	r.must(e.Start())
	_, err = cluster.WaitRing(r.ctx, []*cluster.Member{a, b, e, f, g}, []*cluster.Member{c, d})
	r.must(err)
	r.must(c.Start())
	r.must(d.Start())
	r.final(r.Members...)
	r.requireFilled(keys, 100, g)
	r.verify()
}

// TestYesterdaysData stops a member, runs on, and starts it with the data
// directory that it had before: it is noticed, and what was acknowledged with its
// help meanwhile is not lost.
func TestYesterdaysData(t *testing.T) {
	t.Parallel()
	r := startRing(t, func(c *cluster.Config) { c.Members, c.Founders = 3, 3 })
	r.fill(50, 100)
	m := r.Members[2]
	backup := t.TempDir()
	r.must(m.Stop())
	r.must(os.CopyFS(backup, os.DirFS(m.DataDir)))
	r.must(m.Restart(r.ctx))

	// Acknowledged by the second and the third alone.
	r.must(r.Members[0].Kill())
	api := r.targets(r.Members[1])[0].Backend
	for i := range 20 {
		_, err := api.Put(r.ctx, fmt.Sprintf("since/%d", i), []byte("new"), backend.PutOptions{})
		r.must(err)
	}
	r.must(m.Stop())
	r.must(m.Wipe())
	r.must(os.CopyFS(m.DataDir, os.DirFS(backup)))
	r.must(r.Members[0].Restart(r.ctx))
	before := r.idOf(r.Members[0])
	r.must(m.Start())
	select {
	case <-m.Done():
	case <-time.After(10 * time.Second):
	}
	t.Logf("its process runs: %v; it says:\n%s", m.Running(), m.Tail(3))
	require.True(t, m.Said("it was restored from a backup or copied"), m.Tail(20))
	require.Equal(t, before, r.idOf(r.Members[0]))

	// The procedure: empty the directory and start it again.
	if m.Running() {
		r.must(m.Kill())
	}
	r.must(m.Wipe())
	r.must(m.Start())
	r.final(r.Members...)
	r.verify()
	r.must(r.Members[1].Kill())
	for _, at := range []*cluster.Member{r.Members[0], m} {
		api := r.targets(at)[0].Backend
		for i := range 20 {
			e, err := api.Get(r.ctx, fmt.Sprintf("since/%d", i), backend.GetOptions{})
			r.must(err)
			require.NotNil(t, e, "since/%d is lost at %s", i, at.Name)
		}
	}
}

// TestTwoRingsMeet starts a member of one ring with the addresses of another: the
// two refuse each other, and each goes on as it was.
func TestTwoRingsMeet(t *testing.T) {
	t.Parallel()
	few := func(c *cluster.Config) { c.Members, c.Founders = 3, 3 }
	one, other := startRing(t, few), startRing(t, few, func(c *cluster.Config) { c.Args = []string{"-replicas", "3"} })
	shapes := [2]*backend.Ring{one.final(one.Members...), other.final(other.Members...)}
	require.NotEqual(t, shapes[0].RingID, shapes[1].RingID)
	for i, r := range []*ring{one, other} {
		_, err := r.targets()[0].Backend.Put(r.ctx, "whose", []byte(shapes[i].RingID), backend.PutOptions{})
		r.must(err)
	}
	m := one.Members[2]
	one.must(m.Stop())
	m.ExtraArgs = []string{"-seeds", strings.Join(append(one.Seeds(), other.Seeds()...), ",")}
	one.must(m.Restart(one.ctx))
	one.must(cluster.Wait(one.ctx, "somebody to say that the rings are two", func(context.Context) error {
		for _, m := range append(append([]*cluster.Member{}, one.Members...), other.Members...) {
			if m.Said("refused") && (m.Said(shapes[0].RingID) && m.Said(shapes[1].RingID)) {
				return nil
			}
		}
		return errors.New("nobody says it")
	}))
	time.Sleep(2 * time.Second) // in which a member would stop that held another's name for its own
	for i, r := range []*ring{one, other} {
		shape := r.final(r.Members...)
		require.Equal(t, shapes[i].RingID, shape.RingID)
		require.Equal(t, shapes[i].Epoch, shape.Epoch)
		for _, target := range r.targets() {
			e, err := target.Backend.Get(r.ctx, "whose", backend.GetOptions{})
			r.must(err)
			require.Equal(t, shapes[i].RingID, string(e.Value), target.Name)
		}
		members, err := r.targets()[0].Backend.(backend.Admin).Members(r.ctx)
		r.must(err)
		require.Len(t, members, 3, "gossip mixes the rings")
	}
}

// TestForcedRemoval loses three of five for good: the ring says what may be lost,
// goes on with two when it is told to, and grows again.
func TestForcedRemoval(t *testing.T) {
	t.Parallel()
	r := startRing(t, func(c *cluster.Config) { c.Members, c.Founders = 6, 5 })
	keys := r.fill(200, 100)
	r.verify()
	stay, gone := r.Members[:2], r.Members[2:5]
	var names []string
	for _, m := range gone {
		r.must(m.Kill())
		r.must(m.Wipe())
		names = append(names, m.Name)
	}
	a := stay[0]
	r.must(a.WaitAlive(r.ctx, 2))
	_, err := a.Remove(r.ctx, backend.RemoveRequest{Names: names})
	require.ErrorIs(t, err, backend.ErrNoQuorum)
	t.Logf("without force: %v", err)
	asked, err := a.Remove(r.ctx, backend.RemoveRequest{Names: names, Force: true})
	r.must(err)
	t.Logf("with force: %+v", asked)
	require.Zero(t, asked.Epoch, "it was done unasked")
	require.InDelta(t, 1, asked.AtRisk, 1e-9, "a majority of the copies of every key is gone")
	require.Equal(t, []string{"a", "b"}, asked.Survivors)
	begun := time.Now()
	report, err := a.Remove(r.ctx, backend.RemoveRequest{Names: names, Force: true, Confirm: true})
	r.must(err)
	require.NotZero(t, report.Epoch)
	r.final(stay...)
	t.Logf("works again %d ms after it was forced", time.Since(begun).Milliseconds())
	for _, m := range stay {
		r.requireFilled(keys, 100, m)
	}
	r.must(r.Members[5].Start())
	for _, m := range gone {
		r.must(m.Start())
	}
	r.final(r.Members...)
	r.requireFilled(keys, 100, r.Members[5])
	r.verify()
}

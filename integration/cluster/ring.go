package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

// ringEvery is how often all members are asked for their ring: that costs more
// than a look at one of them.
const ringEvery = 100 * time.Millisecond

// Ring asks the member for the ring as it knows it.
func (m *Member) Ring(ctx context.Context) (*backend.Ring, error) {
	api, err := m.ask()
	if err != nil {
		return nil, err
	}
	return api.Ring(ctx)
}

// Locate asks a member where a key lives and what its owners hold.
func (m *Member) Locate(ctx context.Context, key string) (*backend.Location, error) {
	api, err := m.ask()
	if err != nil {
		return nil, err
	}
	return api.Locate(ctx, key)
}

// Remove asks the member to take others out of the ring.
func (m *Member) Remove(ctx context.Context, req backend.RemoveRequest) (*backend.RemoveReport, error) {
	api, err := m.ask()
	if err != nil {
		return nil, err
	}
	return api.Remove(ctx, req)
}

// Leave takes the member out of the ring and waits until its process has ended,
// with status 0.
func (m *Member) Leave(ctx context.Context) error {
	if !m.Running() {
		return fmt.Errorf("member %q cannot leave: it does not run", m.Name)
	}
	api, err := m.ask()
	if err != nil {
		return err
	}
	m.out.note("leave")
	m.process.asked = true
	if err := api.Leave(ctx); err != nil {
		return fmt.Errorf("member %q leaves: %w", m.Name, err)
	}
	if err := m.process.Await(stopPatience); err != nil {
		return fmt.Errorf("member %q has left: %w", m.Name, err)
	}
	if m.process.Err() != nil {
		return fmt.Errorf("member %q has left, and its process %d did not end cleanly: %w", m.Name, m.PID(), m.process.Err())
	}
	return nil
}

// Verify has the member compare the copies of all keys and returns what it found.
func (m *Member) Verify(ctx context.Context, repair bool) (*backend.VerifyPage, error) {
	api, err := m.ask()
	if err != nil {
		return nil, err
	}
	all := &backend.VerifyPage{}
	for q := (backend.VerifyQuery{Repair: repair}); ; {
		page, err := api.Verify(ctx, q)
		if err != nil {
			return nil, err
		}
		all.Keys += page.Keys
		all.Repaired += page.Repaired
		all.Problems = append(all.Problems, page.Problems...)
		for _, name := range page.Silent {
			if !slices.Contains(all.Silent, name) {
				all.Silent = append(all.Silent, name)
			}
		}
		if !page.More {
			return all, nil
		}
		q.After = page.Next
	}
}

// WaitRing waits until each of the members works by the same final configuration.
// Its members are these, and perhaps some of those that may be in it, which are
// not asked.
func WaitRing(ctx context.Context, members, perhaps []*Member) (*backend.Ring, error) {
	var ring *backend.Ring
	err := wait(ctx, ringEvery, fmt.Sprintf("the final ring of %s", names(members)), func(ctx context.Context) error {
		ring = nil
		for _, m := range members {
			if !m.Running() {
				return fmt.Errorf("%s does not run", m.Name)
			}
			r, err := m.Ring(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", m.Name, err)
			}
			if err := is(r, members, perhaps); err != nil {
				return fmt.Errorf("%s works by epoch %d: %w", m.Name, r.Epoch, err)
			}
			// Its name may be in it as that of the one it was before.
			status, err := m.Status(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", m.Name, err)
			}
			if !slices.ContainsFunc(r.Members, func(o backend.RingMember) bool { return o.ID == status.ID }) {
				return fmt.Errorf("%s works by epoch %d, and it is in it as somebody else; %s", m.Name, r.Epoch, r.Change)
			}
			m.served = m.served || status.State == "serving"
			if ring != nil && ring.Epoch != r.Epoch {
				return fmt.Errorf("%s works by epoch %d, %s by %d", members[0].Name, ring.Epoch, m.Name, r.Epoch)
			}
			ring = r
		}
		return nil
	})
	return ring, err
}

// is says why a ring is not the final one of the members.
func is(r *backend.Ring, members, perhaps []*Member) error {
	if r.Joint {
		return fmt.Errorf("it is joint: %s", r.Change)
	}
	in := map[string]bool{}
	for _, m := range r.Members {
		in[m.Name] = true
	}
	for _, m := range members {
		if !in[m.Name] {
			return fmt.Errorf("%s is not in it; %s", m.Name, r.Change)
		}
		delete(in, m.Name)
	}
	for _, m := range perhaps {
		delete(in, m.Name)
	}
	for name := range in {
		return fmt.Errorf("%s is still in it; %s", name, r.Change)
	}
	return nil
}

func names(members []*Member) string {
	var s []string
	for _, m := range members {
		s = append(s, m.Name)
	}
	return strings.Join(s, ", ")
}

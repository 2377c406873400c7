package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// Member is one member of the ring: a name, a data directory and addresses,
// which it keeps, and a process, which comes and goes. Its methods are for one
// goroutine at a time.
type Member struct {
	// Name is the member's name.
	Name string
	// DataDir is where its data is.
	DataDir string
	// HTTPAddr, GossipAddr and MeshAddr are where it listens.
	HTTPAddr, GossipAddr, MeshAddr string
	// ExtraArgs are arguments of this member's agent, besides Config.Args.
	ExtraArgs []string
	// LogFile is the file that everything it says goes to.
	LogFile string

	cluster *Cluster
	out     *output
	proxy   *proxy // nil when others reach it directly
	process *run
	pid     atomic.Int64 // of the process, for the network
	frozen  bool
	served  bool // the process was seen to serve
	founder bool
	clients []*httpapi.Client
}

// reach returns the gossip address at which others reach the member.
func (m *Member) reach() string {
	if m.proxy != nil {
		return m.proxy.gossipAddr()
	}
	return m.GossipAddr
}

// Args returns the arguments that the member is started with.
func (m *Member) Args() []string {
	args := []string{
		"agent", "-name", m.Name, "-data-dir", m.DataDir, "-gossip-addr", m.GossipAddr, "-mesh-addr", m.MeshAddr,
		"-http-addr", m.HTTPAddr,
	}
	if m.founder {
		args = append(args, "-expect", fmt.Sprint(m.cluster.cfg.Founders))
	}
	var seeds []string
	for _, other := range m.cluster.Members {
		if other != m {
			seeds = append(seeds, other.reach())
		}
	}
	if len(seeds) > 0 {
		args = append(args, "-seeds", strings.Join(seeds, ","))
	}
	if m.proxy != nil {
		args = append(args, "-gossip-advertise", m.proxy.gossipAddr(), "-mesh-advertise", m.proxy.meshAddr())
	}
	return append(append(args, m.cluster.cfg.Args...), m.ExtraArgs...)
}

// Start starts the member's process. It does not wait until the member serves.
func (m *Member) Start() error {
	if m.Running() {
		return fmt.Errorf("member %q runs already", m.Name)
	}
	p, err := startRun(m.cluster.cfg.Binary, m.Args(), m.cluster.env(), m.out)
	if err != nil {
		return fmt.Errorf("start member %q: %w", m.Name, err)
	}
	m.process, m.frozen, m.served = p, false, false
	m.pid.Store(int64(p.PID()))
	m.out.note("started %s as process %d", m.Name, p.PID())
	return nil
}

// Running reports whether the member has a process, frozen or not.
func (m *Member) Running() bool { return m.process != nil && !m.process.Ended() }

// Done is closed when the member's last process has ended. The member must have
// been started.
func (m *Member) Done() <-chan struct{} { return m.process.Done() }

// PID returns the process ID of the member's last process, 0 before the first.
func (m *Member) PID() int {
	if m.process == nil {
		return 0
	}
	return m.process.PID()
}

// Kill ends the member with SIGKILL, as a power cut ends a process.
func (m *Member) Kill() error {
	if !m.Running() {
		return fmt.Errorf("kill member %q: it does not run", m.Name)
	}
	m.out.note("SIGKILL")
	return m.process.kill()
}

// Stop ends the member with SIGTERM; it must end by itself then, with status 0.
func (m *Member) Stop() error {
	if !m.Running() {
		return fmt.Errorf("stop member %q: it does not run", m.Name)
	}
	m.out.note("SIGTERM")
	return m.process.stop()
}

// Freeze stops the member with SIGSTOP: its connections stay open, and nothing
// answers.
func (m *Member) Freeze() error {
	if !m.Running() {
		return fmt.Errorf("freeze member %q: it does not run", m.Name)
	}
	m.out.note("SIGSTOP")
	m.frozen = true
	return m.process.Freeze(false)
}

// Thaw lets a frozen member go on.
func (m *Member) Thaw() error {
	m.out.note("SIGCONT")
	m.frozen = false
	return m.process.Signal(syscall.SIGCONT)
}

// Restart starts the member again and waits until it serves.
func (m *Member) Restart(ctx context.Context) error {
	if err := m.Start(); err != nil {
		return err
	}
	return m.WaitServing(ctx)
}

// Wipe removes the data of a member that does not run.
func (m *Member) Wipe() error {
	if m.Running() {
		return fmt.Errorf("wipe member %q: it runs", m.Name)
	}
	m.out.note("wiped")
	return os.RemoveAll(m.DataDir)
}

// Client returns a client of the member's HTTP API, which Cluster.Close closes.
func (m *Member) Client() (*httpapi.Client, error) {
	c, err := httpapi.NewClient(httpapi.ClientConfig{Addr: m.HTTPAddr})
	if err != nil {
		return nil, fmt.Errorf("client of member %q: %w", m.Name, err)
	}
	m.clients = append(m.clients, c)
	return c, nil
}

// ask returns the client with which the methods here ask the member.
func (m *Member) ask() (*httpapi.Client, error) {
	if len(m.clients) == 0 {
		return m.Client()
	}
	return m.clients[0], nil
}

// Status asks the member for its status.
func (m *Member) Status(ctx context.Context) (*backend.Status, error) {
	api, err := m.ask()
	if err != nil {
		return nil, err
	}
	return api.Status(ctx)
}

// WaitServing waits until the member serves.
func (m *Member) WaitServing(ctx context.Context) error {
	return m.wait(ctx, "to serve", func(s *backend.Status) error {
		if s.State != "serving" {
			return fmt.Errorf("it is %q: %s", s.State, s.Reason)
		}
		return nil
	})
}

// WaitAlive waits until the member serves and holds n members for alive.
func (m *Member) WaitAlive(ctx context.Context, n int) error {
	return m.wait(ctx, fmt.Sprintf("to see %d alive", n), func(s *backend.Status) error {
		if s.State != "serving" || s.Alive != n {
			return fmt.Errorf("it is %q and sees %d of %d alive: %s", s.State, s.Alive, s.Members, s.Reason)
		}
		return nil
	})
}

func (m *Member) wait(ctx context.Context, what string, holds func(*backend.Status) error) error {
	ctx, stop := context.WithTimeout(ctx, m.cluster.cfg.Patience)
	defer stop()
	ended := errors.New("its process has ended")
	err := Wait(ctx, fmt.Sprintf("member %q %s", m.Name, what), func(ctx context.Context) error {
		if !m.Running() {
			stop()
			return ended
		}
		s, err := m.Status(ctx)
		if err != nil {
			return err
		}
		m.served = m.served || s.State == "serving"
		return holds(s)
	})
	if err != nil && !m.Running() {
		return fmt.Errorf("member %q has ended (%v); it says:\n%s", m.Name, m.process.Err(), m.Tail(5))
	}
	return err
}

// Tail returns the last lines of what the member said.
func (m *Member) Tail(lines int) string { return m.out.tail(lines) }

// Said reports whether the member said text, in the part of its log that is kept
// in memory.
func (m *Member) Said(text string) bool { return strings.Contains(m.out.tail(tailBytes), text) }

// end ends whatever runs of the member.
func (m *Member) end() error {
	var errs []error
	for _, c := range m.clients {
		errs = append(errs, c.Close())
	}
	if m.Running() {
		if m.frozen || !m.served {
			errs = append(errs, m.process.kill()) // it cannot end by itself, or not yet
		} else {
			errs = append(errs, m.Stop())
		}
	} else if m.process != nil && !m.process.asked && !m.process.Killed() {
		errs = append(errs, fmt.Errorf("member %q ended by itself: %v; it says:\n%s", m.Name, m.process.Err(), m.Tail(5)))
	}
	return errors.Join(append(errs, m.out.close())...)
}

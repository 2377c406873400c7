package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/chord-plugin/chord-plugin/integration/cluster"
	"github.com/chord-plugin/chord-plugin/integration/process"
)

// askTimeout is how long a question about a server's state may take.
const askTimeout = 2 * time.Second

// Server is one Vault server: a name, a directory and addresses, which it keeps, and a
// process, which comes and goes with that of its plugin. Its methods that start, end or
// freeze it are for one goroutine at a time.
type Server struct {
	// Name is the server's name and that of its member.
	Name string
	// Addr is where its API is, host and port.
	Addr string
	// RingAddr is where the HTTP API of its member of the ring is.
	RingAddr string
	// LogFile has everything that the server and its plugin say.
	LogFile string

	fleet                             *Fleet
	clusterAddr, gossipAddr, meshAddr string
	config                            string // its file
	process                           *process.Process
}

// Start starts the server. It does not wait until it answers.
func (s *Server) Start() error {
	if s.process != nil {
		if !s.process.Ended() {
			return fmt.Errorf("server %q runs already", s.Name)
		}
		if err := s.process.Close(); err != nil {
			return err
		}
	}
	p, err := startProcess(s.fleet.cfg.Vault, []string{"server", "-config", s.config}, s.fleet.env(), s.LogFile)
	if err != nil {
		return fmt.Errorf("start server %q: %w", s.Name, err)
	}
	s.process = p
	return nil
}

// writeConfig writes the server's configuration, as an operator would.
func (s *Server) writeConfig() error {
	storage := s.fleet.cfg.Storage
	if storage == "" {
		storage = fmt.Sprintf(`storage "chord" {
  plugin_path = %q
  name        = %q
  data_dir    = %q
  gossip_addr = %q
  mesh_addr   = %q
  http_addr   = %q
  seeds       = %s
  expect      = %d
}`, s.fleet.cfg.Plugin, s.Name, filepath.Join(s.fleet.cfg.Dir, s.Name), s.gossipAddr, s.meshAddr, s.RingAddr, s.fleet.Seeds(), len(s.fleet.Servers))
	}
	text := fmt.Sprintf(`%s
listener "tcp" {
  address         = %q
  cluster_address = %q
  tls_disable     = true
}
api_addr      = "http://%s"
cluster_addr  = "https://%s"
disable_mlock = true
%s
`, storage, s.Addr, s.clusterAddr, s.Addr, s.clusterAddr, s.fleet.cfg.Settings)
	return os.WriteFile(s.config, []byte(text), 0o600)
}

// PID returns the ID of the server's process.
func (s *Server) PID() int { return s.process.PID() }

// PluginPID returns the ID of the process of its plugin, the only child that it has.
func (s *Server) PluginPID() (int, error) {
	pids, err := children(s.PID())
	if err == nil && len(pids) != 1 {
		err = fmt.Errorf("server %q has the children %v, and should have one, its plugin", s.Name, pids)
	}
	if err != nil {
		return 0, err
	}
	return pids[0], nil
}

// Kill ends the server with SIGKILL and waits for that. Its plugin, whose process ID is
// returned, has to notice and end by itself; see WaitGone.
func (s *Server) Kill() (plugin int, err error) {
	if plugin, err = s.PluginPID(); err != nil {
		return 0, err
	}
	return plugin, errors.Join(s.process.Signal(syscall.SIGKILL), s.process.Await(process.KillPatience))
}

// KillPlugin ends the process of the plugin with SIGKILL. It returns its process ID.
func (s *Server) KillPlugin() (plugin int, err error) {
	if plugin, err = s.PluginPID(); err != nil {
		return 0, err
	}
	return plugin, syscall.Kill(plugin, syscall.SIGKILL)
}

// Stop ends the server with SIGTERM, after which it must end by itself with status 0,
// and its plugin with it.
func (s *Server) Stop(ctx context.Context) error {
	plugins, err := children(s.PID())
	if err != nil {
		return err
	}
	if err := errors.Join(s.process.Signal(syscall.SIGTERM), s.process.Await(stopPatience)); err != nil {
		return err
	}
	if s.process.Err() != nil {
		return fmt.Errorf("server %q did not stop cleanly: %w", s.Name, s.process.Err())
	}
	for _, plugin := range plugins {
		if err := s.WaitGone(ctx, plugin); err != nil {
			return err
		}
	}
	return nil
}

// WaitGone waits until the process of a plugin of this server has ended by itself.
func (s *Server) WaitGone(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	return cluster.Wait(ctx, fmt.Sprintf("the plugin of server %q to end by itself", s.Name), func(context.Context) error {
		if !gone(pid) {
			return fmt.Errorf("process %d is still there", pid)
		}
		return nil
	})
}

// Freeze stops the server with SIGSTOP, alone or with its plugin: its connections stay
// open, its listener takes more, and nothing answers.
func (s *Server) Freeze(withPlugin bool) error { return s.process.Freeze(withPlugin) }

// Thaw lets a frozen server and its plugin go on.
func (s *Server) Thaw() error { return s.process.SignalGroup(syscall.SIGCONT) }

// Health returns the status of sys/health: 200 when the server is active, 429 when it
// is a standby, 503 when it is sealed, 501 when it was never initialised.
func (s *Server) Health(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	a, err := s.Ask(ctx, "", http.MethodGet, "sys/health", nil)
	if err != nil {
		return 0, err
	}
	return a.Status, nil
}

// WaitHealth waits until Health is one of these.
func (s *Server) WaitHealth(ctx context.Context, allowed ...int) error {
	ctx, cancel := context.WithTimeout(ctx, s.fleet.cfg.Patience)
	defer cancel()
	err := cluster.Wait(ctx, fmt.Sprintf("the health of server %q to be one of %v", s.Name, allowed), func(ctx context.Context) error {
		if s.process.Ended() {
			cancel()
			return fmt.Errorf("it has ended: %v", s.process.Err())
		}
		status, err := s.Health(ctx)
		if err != nil {
			return err
		}
		for _, one := range allowed {
			if status == one {
				return nil
			}
		}
		return fmt.Errorf("it is %d", status)
	})
	if err != nil {
		return fmt.Errorf("%w; the server says:\n%s", err, s.tail(20))
	}
	return nil
}

// LogSize returns how many bytes the server has said.
func (s *Server) LogSize() int64 {
	info, err := os.Stat(s.LogFile)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Said returns the lines with text among those that the server said after so many
// bytes.
func (s *Server) Said(after int64, text string) []string {
	said, err := os.ReadFile(s.LogFile)
	if err != nil {
		return nil
	}
	var lines []string
	for line := range strings.Lines(string(said[min(after, int64(len(said))):])) {
		if strings.Contains(line, text) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// WaitSaid waits until the server has said text after so many bytes and returns the
// first line with it.
func (s *Server) WaitSaid(ctx context.Context, after int64, text string) (line string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.fleet.cfg.Patience)
	defer cancel()
	err = cluster.Wait(ctx, fmt.Sprintf("server %q to say %q", s.Name, text), func(context.Context) error {
		lines := s.Said(after, text)
		if len(lines) == 0 {
			return errors.New("it has not")
		}
		line = lines[0]
		return nil
	})
	return line, err
}

// tail returns the last lines that the server said.
func (s *Server) tail(n int) string {
	lines := s.Said(0, "")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

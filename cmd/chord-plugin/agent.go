package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/internal/agent"
)

const agentText = `Without any settings it is a ring of one member, in memory and on loopback.

Each setting can also be given as a variable of the environment, CHORD_DATA_DIR
for -data-dir (an empty one counts as not set), or in the file that -config
names, as data_dir = "...". A flag wins over the environment, that over the
file, and that over the default.

SIGTERM or SIGINT stops the agent; it keeps its place in the ring, unless
leave_on_stop is set. A second one ends it at once. Once it has left the ring,
as chord-plugin leave asks, it stops by itself. SIGUSR1 prints what it counted
in the last minute.`

// rawFlag keeps what was given for a setting; load reads it.
type rawFlag struct {
	setting *agent.Setting
	values  map[string]string
}

func (f *rawFlag) String() string   { return "" }
func (f *rawFlag) IsBoolFlag() bool { return f.setting != nil && f.setting.Boolean }

func (f *rawFlag) Set(v string) error {
	if before, ok := f.values[f.setting.Key]; ok && f.setting.List {
		v = before + "," + v
	}
	f.values[f.setting.Key] = v
	return nil
}

func newAgent(s *streams) *command {
	c := newCommand(s, "agent", "", "runs a node of a ring with an HTTP API")
	c.text = agentText
	values := map[string]string{}
	for _, setting := range agent.Settings {
		c.flags.Var(&rawFlag{setting: setting, values: values}, setting.Flag(), setting.Usage())
	}
	c.run = func(ctx context.Context, _ []string) error {
		top := agent.Layer{Values: values, Label: func(key string) string { return "-" + strings.ReplaceAll(key, "_", "-") }}
		conf, err := agent.Load(top, s.environ, agent.Standalone)
		if err != nil {
			return &usageError{err}
		}
		return s.serve(ctx, conf)
	}
	return c
}

// serve runs the agent until ctx ends or it has left the ring, which is no error,
// or it fails.
func (s *streams) serve(ctx context.Context, c *agent.Config) (err error) {
	logger := hclog.New(&hclog.LoggerOptions{Name: c.Name(), Level: c.Level(), Output: s.stderr, JSONFormat: c.JSON()})
	for _, open := range c.Unprotected() {
		logger.Warn("insecure", "because", open)
	}
	m, err := agent.NewMeasures(agent.Standalone)
	if err != nil {
		return err
	}
	defer m.Dump(s.stderr)()

	n, err := agent.Open(c, logger, m, version)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := s.introduce(c, n); err != nil {
		return fmt.Errorf("print where the agent listens: %w", err)
	}
	select {
	case <-ctx.Done():
		logger.Info("stopping, as a signal asks")
		if n.StopTimeout() == 0 {
			return nil
		}
		// A second signal ends the process.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.StopTimeout())
		defer cancel()
		return n.Stop(ctx)
	case <-n.Done():
		if err := n.Err(); err != nil {
			return fmt.Errorf("the agent stops: %w", err)
		}
		logger.Info("stopping: the member has left the ring")
		return nil
	case err := <-n.Served():
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("the HTTP API at %s ended: %w", n.HTTPAddr(), err)
	}
}

// introduce prints what the agent is and where it listens.
func (s *streams) introduce(c *agent.Config, n *agent.Node) error {
	status, err := n.Status(context.Background())
	if err != nil {
		return err
	}
	ring := "none yet: " + c.Intention()
	if status.RingID != "" {
		ring = fmt.Sprintf("%s, epoch %d, %d members", status.RingID, status.Epoch, status.Members)
	}
	http := "none"
	if n.HTTPAddr() != "" {
		http = "http://" + n.HTTPAddr()
	}
	if _, err := fmt.Fprintln(s.stdout, versionText()); err != nil {
		return err
	}
	return printPairs(s.stdout, [][2]string{
		{"  name", status.Name}, {"  id", shortID(status.ID)}, {"  role", status.Role},
		{"  gossip", status.GossipAddr}, {"  mesh", status.MeshAddr}, {"  http", http}, {"  data", c.Data()}, {"  ring", ring},
	})
}

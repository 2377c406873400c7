package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	metrics "github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"
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
	setting *setting
	values  map[string]string
}

func (f *rawFlag) String() string   { return "" }
func (f *rawFlag) IsBoolFlag() bool { return f.setting != nil && f.setting.boolean }

func (f *rawFlag) Set(v string) error {
	if before, ok := f.values[f.setting.key]; ok && f.setting.list {
		v = before + "," + v
	}
	f.values[f.setting.key] = v
	return nil
}

// usage is the setting's part of the help.
func (s *setting) usage() string {
	kind := "`VALUE`"
	if s.boolean {
		kind = ""
	}
	def := s.fallback
	if def == "" {
		def = s.def
	}
	text := fmt.Sprintf("%s: %s.\nAllowed: %s.", kind, s.doc, s.allowed)
	text = strings.TrimPrefix(text, ": ")
	if def != "" {
		text += " Default: " + def + "."
	}
	return text
}

func newAgent(s *streams) *command {
	c := newCommand(s, "agent", "", "runs a node of a ring with an HTTP API")
	c.text = agentText
	values := map[string]string{}
	for _, setting := range settings {
		c.flags.Var(&rawFlag{setting: setting, values: values}, setting.flag(), setting.usage())
	}
	c.run = func(ctx context.Context, _ []string) error {
		top := layer{values: values, label: func(key string) string { return "-" + strings.ReplaceAll(key, "_", "-") }}
		conf, err := load(top, s.environ, false)
		if err != nil {
			return &usageError{err}
		}
		return s.serve(ctx, conf)
	}
	return c
}

// serve runs the agent until ctx ends or it has left the ring, which is no error,
// or it fails.
func (s *streams) serve(ctx context.Context, c *config) (err error) {
	logger := hclog.New(&hclog.LoggerOptions{Name: c.node.Name, Level: c.level(), Output: s.stderr, JSONFormat: c.logJSON})
	for _, open := range c.unprotected() {
		logger.Warn("insecure", "because", open)
	}
	m, err := newMeasures()
	if err != nil {
		return err
	}
	dumps := metrics.NewInmemSignal(m.dump, metrics.DefaultSignal, s.stderr)
	defer dumps.Stop()

	n, err := openNode(c, logger, m)
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
	case err := <-n.served:
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("the HTTP API at %s ended: %w", n.httpAddr, err)
	}
}

// introduce prints what the agent is and where it listens.
func (s *streams) introduce(c *config, n *node) error {
	status, err := n.Status(context.Background())
	if err != nil {
		return err
	}
	data, ring := c.node.DataDir, "none yet: "+c.intention()
	switch {
	case c.alone():
		data = "in memory, a ring of one member to try things out: it is lost when the agent stops"
	case c.node.Memory:
		data = "in memory: it is lost when the agent stops"
	case data == "":
		data = "none: a client keeps no keys"
	}
	if status.RingID != "" {
		ring = fmt.Sprintf("%s, epoch %d, %d members", status.RingID, status.Epoch, status.Members)
	}
	http := "none"
	if n.httpAddr != "" {
		http = "http://" + n.httpAddr
	}
	if _, err := fmt.Fprintln(s.stdout, versionText()); err != nil {
		return err
	}
	return printPairs(s.stdout, [][2]string{
		{"  name", status.Name}, {"  id", shortID(status.ID)}, {"  role", status.Role},
		{"  gossip", status.GossipAddr}, {"  mesh", status.MeshAddr}, {"  http", http}, {"  data", data}, {"  ring", ring},
	})
}

// intention is how the node comes to a ring.
func (c *config) intention() string {
	seeds := strings.Join(c.node.Seeds, ", ")
	switch {
	case c.node.Expect == 1 && seeds == "":
		return "founds one of one member"
	case c.node.Expect == 0 && seeds == "":
		return "waits for a member of one to appear"
	case c.node.Expect == 0:
		return "joins that of " + seeds
	}
	return fmt.Sprintf("founds one when %d members are here that expect %d", c.node.Expect, c.node.Expect)
}

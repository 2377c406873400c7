package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/chord"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// httpGrace is how long a stopping node lets requests end.
const httpGrace = 2 * time.Second

// Node is a running node of the ring with its HTTP API, if it has one. It is
// the plugin.Stopper and backend.Admin that a host gets.
type Node struct {
	*chord.Instance
	log         hclog.Logger
	leaveOnStop bool
	api         *httpapi.Handler // nil without http_addr, as server is
	server      *http.Server
	// httpAddr is where the API listens.
	httpAddr string
	// served yields the error with which the API ended, once.
	served  chan error
	serving sync.WaitGroup

	// life ends with Close.
	life context.Context
	end  context.CancelFunc

	mu sync.Mutex
	// parting: something waits for the end of a leaving for which nobody else does.
	parting bool
}

// Open starts what c says. The version is told to others, for people.
func Open(c *Config, logger hclog.Logger, m *Measures, version string) (*Node, error) {
	n := &Node{log: logger, leaveOnStop: c.leaveOnStop, served: make(chan error, 1)}
	var listener net.Listener
	if c.httpAddr != "" {
		var err error
		// First of all, since it is what people call: a node that can not be asked
		// is not to join anybody.
		if listener, err = net.Listen("tcp", c.httpAddr); err != nil {
			return nil, c.explainListen(err)
		}
		n.httpAddr = listener.Addr().String()
	}
	conf := c.node
	conf.HTTPAddr, conf.Logger, conf.Metrics, conf.Version = c.reachable(n.httpAddr), logger, m.all, version
	var err error
	if n.Instance, err = chord.Start(conf); err != nil {
		if listener != nil {
			listener.Close() // the first error counts
		}
		return nil, c.explainListen(err)
	}
	n.life, n.end = context.WithCancel(context.Background())
	if c.certificate != nil {
		n.serving.Go(func() { c.certificate.watch(n.life, logger) })
	}
	if listener == nil {
		return n, nil
	}
	n.api = httpapi.New(httpapi.Config{
		Backend: n, Admin: n, Logger: logger.Named("http"), Metrics: m.handler, NodeName: conf.Name, Hosts: c.hosts(), MaxValueSize: c.httpMaxValueSize,
	})
	n.server = httpapi.NewServer(n.api)
	n.serving.Go(func() { n.served <- n.server.Serve(listener) })
	return n, nil
}

// HTTPAddr is where the HTTP API listens; empty: nowhere.
func (n *Node) HTTPAddr() string { return n.httpAddr }

// Served yields the error with which the HTTP API ended, once. OpenForHost listens
// to it itself.
func (n *Node) Served() <-chan error { return n.served }

// reachable is the address at which others find the HTTP API: for an API on
// every interface, at the host where they find gossip or the mesh. It is empty
// when that is not known.
func (c *Config) reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return addr
	}
	for _, other := range []string{c.node.GossipAdvertise, c.node.MeshAdvertise, c.node.GossipAddr, c.node.MeshAddr} {
		host, _, err := net.SplitHostPort(other)
		if ip := net.ParseIP(host); err == nil && (ip == nil || !ip.IsUnspecified()) {
			return net.JoinHostPort(host, port)
		}
	}
	return ""
}

// explainListen names the setting whose address can not be listened at. Not
// every error from below has the address as a value, but each names it.
func (c *Config) explainListen(err error) error {
	listeners := c.listeners()
	for _, key := range slices.Sorted(maps.Keys(listeners)) {
		named := regexp.MustCompile(`(^|[^0-9.])` + regexp.QuoteMeta(listeners[key]) + `($|[^0-9])`)
		if listeners[key] != "" && named.MatchString(err.Error()) {
			return fmt.Errorf("%s (-%s) is %s: %w", key, (&Setting{Key: key}).Flag(), listeners[key], err)
		}
	}
	return err
}

// Leave leaves the ring; see backend.Admin. When who asked waits no longer the
// member goes on leaving, and the node is done all the same once it has.
func (n *Node) Leave(ctx context.Context) error {
	err := n.Instance.Leave(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.life.Err() == nil && !n.parting {
		n.parting = true
		n.serving.Go(func() {
			if err := n.Instance.Leave(n.life); err != nil && n.life.Err() == nil {
				n.log.Warn("the member does not leave after all", "because", err)
			}
		})
	}
	return err
}

// StopTimeout is how long Stop may take.
func (n *Node) StopTimeout() time.Duration {
	if !n.leaveOnStop {
		return 0
	}
	return leaveTimeout
}

// Stop leaves the ring, if the node is in one and somebody else is, too. It is
// called with leave_on_stop before Close.
func (n *Node) Stop(ctx context.Context) error {
	select {
	case <-n.Done():
		return nil // it has left, or is of no use any more
	case <-n.Ready():
	default:
		return nil // it owns nothing yet
	}
	n.log.Info("leaving the ring before stopping, as leave_on_stop says", "at_most", leaveTimeout)
	err := n.Leave(ctx)
	if backend.CodeOf(err) == backend.Invalid {
		n.log.Warn("keeping the place in the ring", "because", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("leave_on_stop: the member stops before it has left the ring: %w", err)
	}
	return nil
}

// Close stops the API, then the node.
func (n *Node) Close() error {
	n.mu.Lock()
	n.end()
	n.mu.Unlock()
	var err error
	if n.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), httpGrace)
		defer cancel()
		err = n.server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = n.server.Close() // what still waits is told so
		}
		err = errors.Join(err, n.api.Close())
	}
	n.serving.Wait()
	return errors.Join(err, n.Instance.Close())
}

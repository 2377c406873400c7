package main

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

	"github.com/chord-plugin/chord-plugin/chord"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// httpGrace is how long a stopping node lets requests end.
const httpGrace = 2 * time.Second

// node is a running node of the ring with its HTTP API, if it has one. It is
// the backend.Backend and backend.Admin that a host gets.
type node struct {
	*chord.Node
	server *http.Server // nil without http_addr
	// httpAddr is where the API listens.
	httpAddr string
	// served yields the error with which the API ended, once.
	served  chan error
	serving sync.WaitGroup
}

// openNode starts what c says.
func openNode(c *config, logger hclog.Logger, m *measures) (*node, error) {
	n := &node{served: make(chan error, 1)}
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
	if n.Node, err = chord.Open(conf); err != nil {
		if listener != nil {
			listener.Close() // the first error counts
		}
		return nil, c.explainListen(err)
	}
	if listener == nil {
		return n, nil
	}
	n.server = httpapi.NewServer(httpapi.New(httpapi.Config{
		Backend: n.Node, Admin: n.Node, Logger: logger.Named("http"), Metrics: m.handler, NodeName: conf.Name, MaxValueSize: c.httpMaxValueSize,
	}))
	n.serving.Go(func() { n.served <- n.server.Serve(listener) })
	return n, nil
}

// reachable is the address at which others find the HTTP API: for an API on
// every interface, at the host where they find gossip or the mesh. It is empty
// when that is not known.
func (c *config) reachable(addr string) string {
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
func (c *config) explainListen(err error) error {
	listeners := c.listeners()
	for _, key := range slices.Sorted(maps.Keys(listeners)) {
		named := regexp.MustCompile(`(^|[^0-9.])` + regexp.QuoteMeta(listeners[key]) + `($|[^0-9])`)
		if listeners[key] != "" && named.MatchString(err.Error()) {
			return fmt.Errorf("%s (-%s) is %s: %w", key, (&setting{key: key}).flag(), listeners[key], err)
		}
	}
	return err
}

// Close stops the API, then the node.
func (n *node) Close() error {
	if n.server == nil {
		return n.Node.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), httpGrace)
	defer cancel()
	err := n.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = n.server.Close() // what still waits is told so
	}
	n.serving.Wait()
	return errors.Join(err, n.Node.Close())
}

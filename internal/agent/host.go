package agent

import (
	"errors"
	"net/http"

	"github.com/hashicorp/go-hclog"

	"github.com/chord-plugin/chord-plugin/backend"
)

// OpenForHost starts the node that a host's configuration describes, the names and
// values of the settings. It returns once the node listens; operations wait until
// there is a ring. In a plugin the environment counts as well, and log_level sets
// the logger's. A configuration that cannot be is Invalid.
func OpenForHost(given map[string]string, environ []string, place Place, logger hclog.Logger, version string) (*Node, error) {
	c, err := Load(Layer{Values: given, Label: func(key string) string { return key }}, environ, place)
	if err != nil {
		return nil, backend.Errorf(backend.Invalid, "", "%w", err)
	}
	if place == InPlugin {
		logger.SetLevel(c.Level())
	}
	for _, open := range c.Unprotected() {
		logger.Warn("insecure", "because", open)
	}
	m, err := NewMeasures(place)
	if err != nil {
		return nil, err
	}
	n, err := Open(c, logger, m, version)
	if err != nil {
		return nil, backend.Errorf(backend.Invalid, "", "%w", err)
	}
	if n.server != nil {
		n.serving.Go(func() {
			if err := <-n.served; !errors.Is(err, http.ErrServerClosed) {
				logger.Error("the HTTP API ended; the plugin goes on without it", "addr", n.httpAddr, "error", err)
			}
		})
	}
	return n, nil
}

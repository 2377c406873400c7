package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/chord-plugin/chord-plugin/backend"
)

// parent is the process that started this one. It is read before anything else
// runs: a process whose parent dies gets another one.
var parent = os.Getppid()

// ServeConfig says what a plugin serves.
type ServeConfig struct {
	// Open opens the backend with the host's configuration. It is called when the
	// host says so, and again only after it has failed. The context bounds the
	// opening, not the life of the backend. An *backend.Error reaches the host as
	// it is; use backend.Invalid for a wrong configuration. Admin may be nil. A
	// backend that is a Stopper is told before it is closed. Required.
	Open func(ctx context.Context, config map[string]string) (backend.Backend, backend.Admin, error)
	// Logger gets go-plugin's and this package's log lines. It must write hclog's
	// JSON to standard error, where the host reads it, and must be made before
	// Serve is called. Default: such a logger at level info.
	Logger hclog.Logger
	// Version is the version of the program, for people.
	Version string
}

// Serve is the main function of a plugin. It returns when the host has ended the
// plugin, when the host is gone, or after SIGTERM; the backend has been closed
// by then, or was given five seconds for it and, if it is a Stopper, what it asks
// for. SIGINT and SIGHUP are ignored, since a terminal sends them to the host as well,
// which reloads its configuration at the second, and SIGTERM for ten seconds, since a
// service manager does, unless it comes twice. Serve takes over standard output and
// standard error.
//
// It fails when the process was not started by a host (see Launched) and when
// the backend could not be closed.
func Serve(cfg ServeConfig) error {
	if cfg.Open == nil {
		return errors.New("plugin: ServeConfig.Open is not set")
	}
	if !Launched() {
		return fmt.Errorf("plugin: no host has started this process: %s is not set to the cookie", Handshake.MagicCookieKey)
	}
	signal.Ignore(syscall.SIGHUP) // go-plugin does so for SIGINT
	logger := cfg.Logger
	if logger == nil {
		logger = hclog.New(&hclog.LoggerOptions{Name: "plugin", Level: hclog.Info, Output: os.Stderr, JSONFormat: true})
	}
	s := newService(func(ctx context.Context, config map[string]string) (backend.Backend, backend.Admin, error) {
		// From here on there is something to close, so that writing a log line to
		// a host that is gone must not end the process.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
		return cfg.Open(ctx, config)
	}, cfg.Version)

	var server *grpc.Server
	served := make(chan struct{})
	var watching sync.WaitGroup
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  Handshake,
		VersionedPlugins: pluginSet(s),
		Logger:           logger,
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			server = grpc.NewServer(append(opts, serverOptions()...)...)
			watching.Go(func() {
				if s.watch(served, logger) {
					server.Stop()
				}
			})
			return server
		},
	})
	err := s.close()
	close(served)
	watching.Wait()
	// The host made this directory for the socket, which go-plugin has removed. A
	// host that died cannot remove it, and it is removed only when it is empty.
	if dir := os.Getenv(goplugin.EnvUnixSocketDir); dir != "" {
		_ = os.Remove(dir)
	}
	if server == nil {
		return errors.New("plugin: the plugin could not listen; see the log line above")
	}
	return err
}

package plugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/locking"
	"github.com/chord-plugin/chord-plugin/plugin/proto"
)

// DefaultStartTimeout is how long a plugin may take to answer at all.
const DefaultStartTimeout = 30 * time.Second

// Config says which plugin to load and how.
type Config struct {
	// Path is the plugin's binary. A relative path is relative to the host's
	// working directory; PATH is not searched. Required.
	Path string
	// Args are the arguments of the binary. Default: none.
	Args []string
	// SHA256 is the checksum that the binary must have, in hex. The directory must
	// not be writable by others than the host, since the binary could be replaced
	// between the check and the start. Default: not checked.
	SHA256 string
	// Configuration is what the plugin is configured with: the names and values of
	// the agent's configuration file. Default: empty.
	Configuration map[string]string
	// Logger gets the plugin's log lines and those about its process. Default:
	// they are dropped.
	Logger hclog.Logger
	// Env are the plugin's environment variables, each NAME=value. The host's own
	// environment is never passed on, because it often holds secrets. Default:
	// none.
	Env []string
	// StartTimeout is how long the process may take until it answers; being
	// configured takes as long as the context of Open allows. Default:
	// DefaultStartTimeout.
	StartTimeout time.Duration
}

// Open starts a plugin, configures it and returns a client of it, which the
// caller must close. The context bounds the opening only.
//
// Every error is a *backend.Error: Invalid when the binary or the configuration
// is at fault, NotReady when the plugin was not ready before the context ended,
// else what the plugin answered. No process is left behind then.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, backend.Errorf(backend.NotReady, "", "the plugin was not started: %w", err)
	}
	path, err := cfg.check()
	if err != nil {
		return nil, err
	}
	secure, err := cfg.secure()
	if err != nil {
		return nil, err
	}
	logger := cfg.Logger
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	// The plugin's socket lies in a directory of its own, so that nothing is left
	// of a plugin that could not clean up.
	socketDir, err := os.MkdirTemp("", "chord-")
	if err != nil {
		return nil, backend.Errorf(backend.Internal, "", "make a directory for the plugin's socket: %w", err)
	}

	alive, kill := context.WithCancel(context.Background())
	cmd := exec.CommandContext(alive, path, cfg.Args...)
	cmd.Env = append(append([]string{}, cfg.Env...), goplugin.EnvUnixSocketDir+"="+socketDir)
	said := &firstLine{}
	c := &Client{
		path:      path,
		kill:      kill,
		socketDir: socketDir,
		done:      make(chan struct{}),
		process: goplugin.NewClient(&goplugin.ClientConfig{
			HandshakeConfig:  Handshake,
			VersionedPlugins: pluginSet(nil),
			Cmd:              cmd,
			SecureConfig:     secure,
			AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
			AutoMTLS:         true,
			SkipHostEnv:      true,
			StartTimeout:     cfg.StartTimeout,
			Stderr:           said,
			Logger:           logger,
			GRPCDialOptions:  dialOptions(),
		}),
	}
	stop := context.AfterFunc(ctx, kill)
	l, err := c.connect()
	if !stop() {
		c.end(killNow)
		return nil, backend.Errorf(backend.NotReady, "", "plugin %s had not started when the context ended: %w", path, ctx.Err())
	}
	if err != nil {
		c.end(killNow) // Only then has the process said everything.
		return nil, startError(path, cfg.SHA256, said.String(), err)
	}
	c.pid = cmd.Process.Pid
	c.rpc = proto.NewBackendClient(l.conn)
	if err := c.configure(ctx, cfg.Configuration); err != nil {
		c.end(killNow)
		return nil, err
	}
	c.keeper = locking.New(remote{c}, nil)
	c.watch(l)
	return c, nil
}

// check returns the absolute path of the binary, or what is wrong with cfg.
func (cfg *Config) check() (path string, err error) {
	if cfg.Path == "" {
		return "", backend.Errorf(backend.Invalid, "", "Config.Path is empty; give the path of the plugin's binary")
	}
	path, err = filepath.Abs(cfg.Path)
	if err != nil {
		return "", backend.Errorf(backend.Invalid, "", "plugin %s: %w", cfg.Path, err)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", backend.Errorf(backend.Invalid, "", "there is no plugin at %s; give the path of the binary: %w", path, err)
	case err != nil:
		return "", backend.Errorf(backend.Invalid, "", "plugin %s: %w", path, err)
	case info.IsDir():
		return "", backend.Errorf(backend.Invalid, "", "plugin %s is a directory; give the path of the binary in it", path)
	case runtime.GOOS != "windows" && info.Mode()&0o111 == 0:
		return "", backend.Errorf(backend.Invalid, "", "plugin %s is not executable (its mode is %v); use chmod +x", path, info.Mode().Perm())
	}
	if cfg.StartTimeout < 0 {
		return "", backend.Errorf(backend.Invalid, "", "Config.StartTimeout is %v and must not be negative", cfg.StartTimeout)
	}
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = DefaultStartTimeout
	}
	for _, v := range cfg.Env {
		if strings.Index(v, "=") < 1 {
			return "", backend.Errorf(backend.Invalid, "", "a string of Config.Env is not of the form NAME=value")
		}
	}
	for name, value := range cfg.Configuration {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return "", backend.Errorf(backend.Invalid, "", "Config.Configuration: %q is not valid UTF-8", name)
		}
	}
	return path, nil
}

// secure returns what go-plugin compares the binary with, nil for nothing.
func (cfg *Config) secure() (*goplugin.SecureConfig, error) {
	if cfg.SHA256 == "" {
		return nil, nil
	}
	sum, err := hex.DecodeString(cfg.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return nil, backend.Errorf(backend.Invalid, "", "Config.SHA256 is %q and must be %d hexadecimal digits", cfg.SHA256, 2*sha256.Size)
	}
	return &goplugin.SecureConfig{Checksum: sum, Hash: sha256.New()}, nil
}

// connect starts the process and shakes hands with it.
func (c *Client) connect() (*link, error) {
	protocol, err := c.process.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(Name)
	if err != nil {
		return nil, err
	}
	l, ok := raw.(*link)
	if !ok {
		return nil, fmt.Errorf("the plugin %q is a %T", Name, raw)
	}
	return l, nil
}

// startError explains why there is no connection. said is the first line that
// the process wrote to standard error.
func startError(path, sum, said string, err error) error {
	theirs := disagreed(err)
	switch {
	case errors.Is(err, goplugin.ErrChecksumsDoNotMatch):
		have, herr := checksum(path)
		if herr != nil {
			have = "unknown: " + herr.Error()
		}
		return backend.Errorf(backend.Invalid, "", "plugin %s is not the one that was asked for: its SHA-256 is %s and should be %s; install the right binary, or give the checksum of this one: %w", path, have, strings.ToLower(sum), err)
	case theirs > ProtocolVersion:
		return backend.Errorf(backend.Invalid, "", "plugin %s is newer than this host: the oldest plugin protocol that it speaks is version %d, and the host speaks %d; upgrade the host, or use an older plugin: %w", path, theirs, ProtocolVersion, err)
	case theirs != agreed:
		return backend.Errorf(backend.Invalid, "", "plugin %s is older than this host: it speaks version %d of the plugin protocol, and the host speaks %d; upgrade the plugin: %w", path, theirs, ProtocolVersion, err)
	case said != "":
		return backend.Errorf(backend.Invalid, "", "%s did not start as a chord-plugin; it says: %s: %w", path, said, err)
	}
	return backend.Errorf(backend.Invalid, "", "%s did not start as a chord-plugin: %w", path, err)
}

// agreed, as the result of disagreed, is an error about something else.
const agreed = -1

// disagreed returns the protocol version that a plugin announced which has none in
// common with this host: the oldest of its own. go-plugin tells it in words only.
func disagreed(err error) int {
	var theirs int
	_, numbers, found := strings.Cut(err.Error(), "incompatible API version with plugin. Plugin version: ")
	if _, err := fmt.Sscanf(numbers, "%d,", &theirs); !found || err != nil {
		return agreed
	}
	return theirs
}

// checksum returns the SHA-256 of a file in hex.
func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

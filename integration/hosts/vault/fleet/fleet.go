package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

const (
	// DefaultPatience is how long a server may take to come to a state.
	DefaultPatience = time.Minute
	// shares are the parts of the key that unseals the servers, and threshold how many
	// of them are needed.
	shares, threshold = 5, 3
)

// Config says what servers to run.
type Config struct {
	// Vault and Plugin are the binaries: a Vault that has the storage chord, and
	// chord-plugin, with absolute paths. Required.
	Vault, Plugin string
	// Dir is where data, configurations and logs go. It must exist, and stays the
	// caller's to remove. Required.
	Dir string
	// Servers is how many there are, 1 to 9.
	Servers int
	// Storage is the storage stanza of every server. Default: chord, the servers'
	// plugins being the members of one ring.
	Storage string
	// Settings are further lines of the configuration of every server. Default: none.
	Settings string
	// Patience is how long a server may take to come to a state that is waited for.
	// Default: DefaultPatience.
	Patience time.Duration
}

// Fleet is a number of Vault servers that are one cluster of Vault, and whose plugins
// are one ring.
type Fleet struct {
	// Servers are all, vault-1 and so on.
	Servers []*Server
	// Keys unseal a server, any threshold of them, and Root may do everything. Init
	// sets them.
	Keys []string
	Root string

	cfg   Config
	close func() error
}

// New prepares servers; nothing runs yet. The caller must close the fleet.
func New(cfg Config) (*Fleet, error) {
	if cfg.Servers < 1 || cfg.Servers > 9 {
		return nil, fmt.Errorf("fleet: %d servers; allowed are 1 to 9", cfg.Servers)
	}
	if cfg.Patience == 0 {
		cfg.Patience = DefaultPatience
	}
	f := &Fleet{cfg: cfg}
	f.close = sync.OnceValue(f.closeAll)
	for i := range cfg.Servers {
		name := fmt.Sprintf("vault-%d", i+1)
		s := &Server{Name: name, LogFile: filepath.Join(cfg.Dir, name+".log"), fleet: f, config: filepath.Join(cfg.Dir, name+".hcl")}
		for _, addr := range []*string{&s.Addr, &s.RingAddr, &s.clusterAddr, &s.gossipAddr, &s.meshAddr} {
			var err error
			if *addr, err = cluster.FreeAddr(); err != nil {
				return nil, fmt.Errorf("fleet: %w", err)
			}
		}
		f.Servers = append(f.Servers, s)
	}
	for _, s := range f.Servers {
		if err := s.writeConfig(); err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
	}
	return f, nil
}

// Seeds are the addresses at which others meet the ring, as a list in a configuration.
func (f *Fleet) Seeds() string {
	var seeds []string
	for _, s := range f.Servers {
		seeds = append(seeds, strconv.Quote(s.gossipAddr))
	}
	return "[" + strings.Join(seeds, ", ") + "]"
}

// env is the environment of the servers: none of this process's settings of Vault,
// which would be taken for theirs.
func (f *Fleet) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + f.cfg.Dir, "TMPDIR=" + os.TempDir()}
}

// Start starts all servers and waits until each of them answers.
func (f *Fleet) Start(ctx context.Context) error {
	for _, s := range f.Servers {
		if err := s.Start(); err != nil {
			return err
		}
	}
	for _, s := range f.Servers {
		if err := s.WaitHealth(ctx, http.StatusNotImplemented, http.StatusServiceUnavailable); err != nil {
			return err
		}
	}
	return nil
}

// Init initialises Vault.
func (f *Fleet) Init(ctx context.Context) error {
	a, err := f.Servers[0].Must(ctx, "", http.MethodPut, "sys/init", map[string]any{"secret_shares": shares, "secret_threshold": threshold})
	if err != nil {
		return err
	}
	keys, _ := a.Get("keys").([]any)
	for _, key := range keys {
		f.Keys = append(f.Keys, fmt.Sprint(key))
	}
	if f.Root = a.String("root_token"); len(f.Keys) != shares || f.Root == "" {
		return fmt.Errorf("init answers with %d keys of %d, and a root token of %d bytes", len(f.Keys), shares, len(f.Root))
	}
	return nil
}

// Unseal unseals these servers and waits until each is active or a standby.
func (f *Fleet) Unseal(ctx context.Context, servers ...*Server) error {
	for _, s := range servers {
		for _, key := range f.Keys[:threshold] {
			if _, err := s.Must(ctx, "", http.MethodPut, "sys/unseal", map[string]any{"key": key}); err != nil {
				return err
			}
		}
	}
	for _, s := range servers {
		if err := s.WaitHealth(ctx, http.StatusOK, http.StatusTooManyRequests); err != nil {
			return err
		}
	}
	return nil
}

// Active waits until exactly one of the servers, except these, says that it is active,
// and returns it.
func (f *Fleet) Active(ctx context.Context, except ...*Server) (active *Server, err error) {
	err = f.wait(ctx, "a server to be active", func(ctx context.Context) error {
		active = nil
		for _, s := range f.without(except) {
			status, err := s.Health(ctx)
			if err != nil || status != http.StatusOK {
				continue // somebody else may be
			}
			if active != nil {
				return fmt.Errorf("both %s and %s say that they are active", active.Name, s.Name)
			}
			active = s
		}
		if active == nil {
			return errors.New("none is")
		}
		return nil
	})
	return active, err
}

// wait waits until a condition holds, for as long as is allowed.
func (f *Fleet) wait(ctx context.Context, what string, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Patience)
	defer cancel()
	return cluster.Wait(ctx, what, condition)
}

// without are the servers without these.
func (f *Fleet) without(except []*Server) []*Server {
	var left []*Server
	for _, s := range f.Servers {
		out := false
		for _, e := range except {
			out = out || s == e
		}
		if !out {
			left = append(left, s)
		}
	}
	return left
}

// Others are the servers without this one.
func (f *Fleet) Others(s *Server) []*Server { return f.without([]*Server{s}) }

// Close ends everything that still runs with SIGKILL. Closing twice is no error.
func (f *Fleet) Close() error { return f.close() }

func (f *Fleet) closeAll() error {
	var errs []error
	for _, s := range f.Servers {
		if s.process != nil {
			errs = append(errs, s.process.Close())
		}
	}
	return errors.Join(errs...)
}

package vault

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/integration/hosts/vault/fleet"
)

const (
	// buildTimeout is how long the binaries may take, which is minutes the first time.
	buildTimeout = 30 * time.Minute
	// stageTimeout bounds each stage of a test.
	stageTimeout = 4 * time.Minute
)

// vaultBinary and pluginBinary are what is tested.
var vaultBinary, pluginBinary string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "vault-test-")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	begun := time.Now()
	if vaultBinary, pluginBinary, err = fleet.Build(ctx, ".", dir); err != nil {
		return 1, err
	}
	fmt.Printf("built Vault and the plugin in %.0f s\n", time.Since(begun).Seconds())
	if code = m.Run(); code == 0 {
		if err := goleak.Find(); err != nil {
			return 1, fmt.Errorf("goroutines are left: %w", err)
		}
	}
	return code, nil
}

// stage is a part of a test: servers, and a context that ends it.
type stage struct {
	*testing.T
	*fleet.Fleet
	ctx  context.Context
	turn int // of the server to ask
}

func (s *stage) must(err error) {
	s.Helper()
	require.NoError(s, err)
}

// newFleet prepares servers that end with the test.
func newFleet(t *testing.T, cfg fleet.Config) *fleet.Fleet {
	t.Helper()
	cfg.Vault, cfg.Plugin, cfg.Dir = vaultBinary, pluginBinary, t.TempDir()
	f, err := fleet.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// play plays a stage.
func play(t *testing.T, f *fleet.Fleet, part func(*stage)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stageTimeout)
	defer cancel()
	part(&stage{T: t, Fleet: f, ctx: ctx})
}

// ok asks the server and requires that it does as it is asked.
func (s *stage) ok(server *fleet.Server, method, path string, body map[string]any) *fleet.Answer {
	s.Helper()
	a, err := server.Must(s.ctx, s.Root, method, path, body)
	s.must(err)
	return a
}

// status asks the server and returns the status of the answer.
func (s *stage) status(server *fleet.Server, token, method, path string, body map[string]any) int {
	s.Helper()
	a, err := server.Ask(s.ctx, token, method, path, body)
	s.must(err)
	return a.Status
}

func (s *stage) active(except ...*fleet.Server) *fleet.Server {
	s.Helper()
	active, err := s.Active(s.ctx, except...)
	s.must(err)
	return active
}

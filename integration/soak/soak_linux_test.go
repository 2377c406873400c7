package soak

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var (
	minutes = flag.Float64("minutes", 2.5, "how long the soak runs")
	seed    = flag.Uint64("seed", 1, "what repeats its schedule")
	binary  = flag.String("binary", "", "the chord-plugin binary; empty: it is built")
	dir     = flag.String("dir", "", "where the data and the logs of the members go, and stay; empty: nowhere")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSoak lets a ring live through a schedule of troubles; see Run.
func TestSoak(t *testing.T) {
	cfg := Config{Binary: *binary, Dir: *dir, Seed: *seed, Duration: time.Duration(*minutes * float64(time.Minute))}
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	} else {
		require.NoError(t, os.MkdirAll(cfg.Dir, 0o700))
	}
	if cfg.Binary == "" {
		cfg.Binary = filepath.Join(t.TempDir(), "chord-plugin")
		said, err := exec.Command("go", "build", "-o", cfg.Binary, "../../cmd/chord-plugin").CombinedOutput()
		require.NoError(t, err, "%s", said)
	}
	cfg.Say = func(line string) { t.Log(line) }
	require.NoError(t, Run(t.Context(), cfg))
}

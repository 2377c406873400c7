package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/integration/cluster"
	"github.com/chord-plugin/chord-plugin/integration/crew"
	"github.com/chord-plugin/chord-plugin/integration/load"
)

// seed makes the choices of the clients; a failure shows it.
const seed = 20250101

// testPatience bounds one test.
const testPatience = 60 * time.Second

// binary is the chord-plugin binary under test.
var binary string

func TestMain(m *testing.M) {
	if what := os.Getenv(holderEnv); what != "" {
		if err := hold(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "chord-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "chord-plugin")
	if path := os.Getenv("INTEGRATION_BINARY"); path != "" {
		binary = path
	} else if out, err := exec.Command("go", "build", "-o", binary, "../cmd/chord-plugin").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// ring is members at work.
type ring struct {
	*cluster.Cluster
	t   *testing.T
	ctx context.Context
}

// startRing founds a ring of five members, unless it is configured otherwise,
// which the test ends. When the test
// has failed, it shows the end of their logs.
func startRing(t *testing.T, configure ...func(*cluster.Config)) *ring {
	t.Helper()
	cfg := cluster.Config{Binary: binary, Dir: t.TempDir(), Members: 5}
	for _, f := range configure {
		f(&cfg)
	}
	c, err := cluster.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	t.Cleanup(func() {
		cancel()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, m := range c.Members {
				t.Logf("the end of the log of %s:\n%s", m.Name, m.Tail(40))
			}
		}
	})
	begun := time.Now()
	require.NoError(t, c.Start(ctx))
	t.Logf("%d members serve after %d ms", len(c.Founders()), time.Since(begun).Milliseconds())
	return &ring{Cluster: c, t: t, ctx: ctx}
}

// must fails the test on an error.
func (r *ring) must(err error) {
	r.t.Helper()
	require.NoError(r.t, err)
}

// targets returns the members' HTTP APIs as targets.
func (r *ring) targets(members ...*cluster.Member) []crew.Target {
	r.t.Helper()
	if len(members) == 0 {
		members = r.Members
	}
	var targets []crew.Target
	for _, m := range members {
		c, err := m.Client()
		r.must(err)
		targets = append(targets, crew.Target{Name: m.Name, Backend: c})
	}
	return targets
}

// work lets clients work at all founders.
func (r *ring) work() *load.Load {
	r.t.Helper()
	r.t.Logf("seed %d", seed)
	l := load.Start(load.Config{Seed: seed}, r.targets(r.Founders()...)...)
	r.t.Cleanup(func() { l.Stop() })
	l.Run(time.Second)
	return l
}

// judge waits for all members, reads everything back and judges what was seen.
func (r *ring) judge(report *load.Report) {
	r.t.Helper()
	r.must(r.WaitAlive(r.ctx))
	r.t.Log(report)
	r.judgeAt(report, r.Members)
}

// judgeAt is judge at the given members, which must serve.
func (r *ring) judgeAt(report *load.Report, members []*cluster.Member) {
	r.t.Helper()
	require.NotEmpty(r.t, report.Lists, "no listing was answered")
	r.must(report.Judge(r.ctx, r.targets(members...)...))
	r.t.Logf("lost: 0 of %d acknowledged keys", report.Acknowledged())
}

// requireGap prints and bounds the longest gap at each of the given members.
func (r *ring) requireGap(report *load.Report, most, from, to time.Duration, members ...*cluster.Member) {
	r.t.Helper()
	var names []string
	for _, m := range members {
		gap := report.Gap(m.Name, from, to)
		names = append(names, m.Name)
		r.t.Logf("longest gap without a write: %v, from %v after the fault on; %d writes", gap, (gap.Begin - from).Round(time.Millisecond), report.Writes(m.Name, from, to))
		if gap.Length() >= most {
			r.t.Errorf("the gap of %v is not below %v", gap, most)
		}
	}
	slowest := report.Slowest(names...)
	r.t.Logf("slowest operation there: %s in %d ms; slowest list: %d ms", slowest.Kind, (slowest.Return - slowest.Call).Milliseconds(), report.SlowestList(names...).Milliseconds())
}

package hosting

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/hostring"
	"github.com/chord-plugin/chord-plugin/plugin"
)

// A writer is the only one who writes its key: 1, 2, 3 and so on. It knows what the key
// may be.
type writer struct {
	key  string
	last int
	// maybe are, in order, the values that the key may have: the newest that was
	// acknowledged, and those after it of which nobody knows.
	maybe []int
	// doubts counts the writes of unknown outcome.
	doubts int
}

// write writes the next value.
func (w *writer) write(ctx context.Context, s *Store) error {
	w.last++
	err := s.Put(ctx, w.key, []byte(fmt.Sprint(w.last)), false)
	switch backend.CodeOf(err) {
	case 0:
		w.maybe = []int{w.last}
	case backend.UnknownOutcome:
		w.maybe = append(w.maybe, w.last)
		w.doubts++
	case backend.NoQuorum, backend.NotReady: // nothing happened
	default:
		return err
	}
	return nil
}

// read fails unless the key is what it may be.
func (w *writer) read(ctx context.Context, s *Store) error {
	e, err := s.Get(ctx, w.key)
	if err != nil {
		return err
	}
	is := 0
	if e != nil {
		if is, err = strconv.Atoi(string(e.Value)); err != nil {
			return err
		}
	}
	i := slices.Index(w.maybe, is)
	if i < 0 {
		return fmt.Errorf("key %q is %d and can only be %v", w.key, is, w.maybe)
	}
	w.maybe = w.maybe[i:] // later ones may still happen
	return nil
}

// The plugin is killed in the midst of writes, and that again when it runs again. Each
// write either happened, or did not, or the host is told that nobody knows: whatever is
// read later agrees with that, and the host goes on.
func TestRingPluginKilledInMidWrite(t *testing.T) {
	r, hosts := hostring.Start(t, ringPlugin, 1, Open)
	s := hosts[0]
	const writers, writes = 8, 200
	var all sync.WaitGroup
	var begun atomic.Int64
	errs, doubts := make(chan error, writers), make(chan int, writers)
	kill := func() error {
		pids := r.Plugins()
		if len(pids) != 1 {
			return fmt.Errorf("the plugins are %v", pids)
		}
		return syscall.Kill(pids[0], syscall.SIGKILL)
	}
	for i := range writers {
		w := &writer{key: fmt.Sprint("key/", i), maybe: []int{0}}
		all.Go(func() {
			for range writes {
				var err error
				if n := begun.Add(1); n == writers*writes/3 || n == writers*writes*2/3 {
					err = kill()
				}
				if err == nil {
					err = w.write(t.Context(), s)
				}
				if err == nil {
					err = w.read(t.Context(), s)
				}
				if err != nil {
					errs <- err
					return
				}
			}
			doubts <- w.doubts
		})
	}
	all.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	close(doubts)
	total := 0
	for n := range doubts {
		total += n
	}
	t.Logf("of %d writes %d had an unknown outcome", writers*writes, total)
	require.LessOrEqual(t, total, 2*writers, "each writer has one write on its way when the plugin is killed")
}

// What the host has in its environment does not reach the plugin.
func TestRingEnvironment(t *testing.T) {
	t.Setenv("VAULT_TOKEN", "sesame")
	t.Setenv("CHORD_GOSSIP_KEY", "sesame too")
	r, _ := hostring.Start(t, ringPlugin, 1, Open)
	pids := r.Plugins()
	require.Len(t, pids, 1)
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pids[0]))
	require.NoError(t, err)
	require.Contains(t, string(environment), plugin.Handshake.MagicCookieValue)
	for _, variable := range strings.FieldsFunc(string(environment), func(r rune) bool { return r == 0 }) {
		name, _, _ := strings.Cut(variable, "=")
		require.True(t, name == plugin.Handshake.MagicCookieKey || strings.HasPrefix(name, "PLUGIN_"), "%s is none of go-plugin's variables", name)
	}
	require.NotContains(t, string(environment), "sesame")
}

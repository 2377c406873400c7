package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// loadTimeout is how long the load waits for an answer; after that the outcome is
	// unknown.
	loadTimeout = time.Second
	// loadPause is how long a writer rests between two rounds.
	loadPause = 20 * time.Millisecond
	// maxSaid is how many violations a report words; it counts all.
	maxSaid = 10
	// verifiers read in the end, at the same time.
	verifiers = 8
)

// KV is where Mount mounts a kv store of version 2, in which the load's secrets are.
const KV = "secret"

// Mount mounts KV and waits until it takes secrets.
func (f *Fleet) Mount(ctx context.Context, active *Server) error {
	if _, err := active.Must(ctx, f.Root, http.MethodPost, "sys/mounts/"+KV, map[string]any{"type": "kv", "options": map[string]any{"version": "2"}}); err != nil {
		return err
	}
	return f.wait(ctx, "the kv store to take secrets", func(ctx context.Context) error {
		_, err := active.Must(ctx, f.Root, http.MethodPost, KV+"/data/first", map[string]any{"data": map[string]any{"n": 0}})
		return err
	})
}

// Load are writers that write secrets through all servers in turn. Each writes two in a
// round: one of its own for ever, and a counter, by check-and-set, so that a write whose
// answer was lost cannot surface after later ones. Then it reads the counter through
// another server: an answer that is older than the last that was acknowledged is a
// violation, and so is that there is none.
type Load struct {
	fleet   *Fleet
	name    string
	stop    context.CancelFunc
	running sync.WaitGroup

	mu         sync.Mutex
	asked      int
	answered   int
	acked      []secret
	last       time.Time // of the last acknowledgement
	longest    time.Duration
	violations int
	said       []string
}

// secret is one that was acknowledged.
type secret struct {
	path string
	n    int
}

// Report is what became of a load.
type Report struct {
	// Asked counts requests, and Answered those that had an answer of success.
	Asked, Answered int
	// Acknowledged counts the writes that were acknowledged, and Secrets the secrets
	// that they left.
	Acknowledged, Secrets int
	// Gap is the longest time in which none was.
	Gap time.Duration
	// Violations counts answers that were older than what had been acknowledged; Said
	// words the first of them.
	Violations int
	Said       []string

	name    string
	secrets []secret
}

// StartLoad starts writers. The caller must call Stop; the name must not be one that
// was used before.
func (f *Fleet) StartLoad(ctx context.Context, name string, writers int) *Load {
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{fleet: f, name: name, stop: cancel, last: time.Now()}
	for i := range writers {
		w := &writer{load: l, index: i, counter: fmt.Sprintf("%s/%d/counter", name, i)}
		l.running.Go(func() { w.run(ctx) })
	}
	return l
}

// WaitAcknowledged waits until n more writes are acknowledged.
func (l *Load) WaitAcknowledged(ctx context.Context, n int) error {
	enough := l.acknowledgements() + n
	return l.fleet.wait(ctx, fmt.Sprintf("%d more writes to be acknowledged", n), func(context.Context) error {
		if now := l.acknowledgements(); now < enough {
			return fmt.Errorf("%d are missing", enough-now)
		}
		return nil
	})
}

func (l *Load) acknowledgements() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// Stop ends the writers and returns what became of what they did.
func (l *Load) Stop() *Report {
	l.stop()
	l.running.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := map[string]int{}
	for _, s := range l.acked {
		newest[s.path] = max(newest[s.path], s.n)
	}
	r := &Report{Asked: l.asked, Answered: l.answered, Acknowledged: len(l.acked), Secrets: len(newest), Gap: l.longest, Violations: l.violations, Said: l.said, name: l.name}
	for path, n := range newest {
		r.secrets = append(r.secrets, secret{path, n})
	}
	return r
}

// String says it in one line.
func (r *Report) String() string {
	return fmt.Sprintf("%s: %d requests, %d with success; %d writes acknowledged, which left %d secrets; longest pause %.1f s; stale answers %d",
		r.name, r.Asked, r.Answered, r.Acknowledged, r.Secrets, r.Gap.Seconds(), r.Violations)
}

// Lost reads every acknowledged secret through all servers in turn, and counts those
// that are not there or older than what was acknowledged.
func (f *Fleet) Lost(ctx context.Context, r *Report) (lost int, err error) {
	var mu sync.Mutex
	var reading sync.WaitGroup
	next := make(chan secret)
	for i := range verifiers {
		reading.Go(func() {
			for s := range next {
				a, failed := f.Servers[(s.n+i)%len(f.Servers)].Ask(ctx, f.Root, http.MethodGet, KV+"/data/"+s.path, nil)
				mu.Lock()
				switch {
				case failed != nil:
					err = failed
				case a.Status == http.StatusNotFound || a.OK() && int(a.Number("data", "data", "n")) < s.n:
					lost++
				case !a.OK():
					err = fmt.Errorf("read %s: status %d: %s", s.path, a.Status, a.Text)
				}
				mu.Unlock()
			}
		})
	}
	for _, s := range r.secrets {
		next <- s
	}
	close(next)
	reading.Wait()
	return lost, err
}

// writer is one of the load's.
type writer struct {
	load    *Load
	index   int
	counter string // its path

	round int
	// known tells that version is that of the counter.
	known     bool
	version   int
	attempted int // the greatest that was tried
	acked     int // the greatest that was acknowledged
}

func (w *writer) run(ctx context.Context) {
	pause := time.NewTicker(loadPause)
	defer pause.Stop()
	for ctx.Err() == nil {
		w.round++
		path := fmt.Sprintf("%s/%d/%d", w.load.name, w.index, w.round)
		if a := w.ask(ctx, http.MethodPost, path, map[string]any{"data": map[string]any{"n": w.round}}); a != nil && a.OK() {
			w.load.acknowledged(secret{path, w.round})
		}
		if !w.known {
			w.read(ctx)
		}
		if w.known {
			w.count(ctx)
		}
		w.read(ctx)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

// count makes the counter the number of the round.
func (w *writer) count(ctx context.Context) {
	w.attempted = w.round
	w.known = false
	a := w.ask(ctx, http.MethodPost, w.counter, map[string]any{"data": map[string]any{"n": w.round}, "options": map[string]any{"cas": w.version}})
	if a != nil && a.OK() {
		w.known, w.version, w.acked = true, int(a.Number("data", "version")), w.round
		w.load.acknowledged(secret{w.counter, w.round})
	}
}

// read reads the counter and judges what it is.
func (w *writer) read(ctx context.Context) {
	a := w.ask(ctx, http.MethodGet, w.counter, nil)
	switch {
	case a == nil:
	case a.OK():
		n := int(a.Number("data", "data", "n"))
		if n < w.acked || n > w.attempted {
			w.load.violated("%s is %d; %d was acknowledged, and %d tried", w.counter, n, w.acked, w.attempted)
		}
		w.known, w.version = true, int(a.Number("data", "metadata", "version"))
	case a.Status == http.StatusNotFound && !strings.Contains(a.Text, "no handler"):
		if w.acked > 0 {
			w.load.violated("%s is not there; %d was acknowledged", w.counter, w.acked)
		}
		w.known, w.version = true, 0
	}
}

// ask asks the next server in turn. It returns nil when there is no answer.
func (w *writer) ask(ctx context.Context, method, path string, body any) *Answer {
	l := w.load
	l.mu.Lock()
	s := l.fleet.Servers[(l.asked+w.index)%len(l.fleet.Servers)]
	l.asked++
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	a, err := s.Ask(ctx, l.fleet.Root, method, KV+"/data/"+path, body)
	if err != nil {
		return nil
	}
	if a.OK() {
		l.mu.Lock()
		l.answered++
		l.mu.Unlock()
	}
	return a
}

func (l *Load) acknowledged(s secret) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, s)
	l.longest = max(l.longest, time.Since(l.last))
	l.last = time.Now()
}

func (l *Load) violated(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violations++
	if len(l.said) < maxSaid {
		l.said = append(l.said, fmt.Sprintf(format, args...))
	}
}

// Check returns an error when there were violations, or when nothing was acknowledged,
// so that nothing was tested.
func (r *Report) Check() error {
	switch {
	case r.Violations > 0:
		return fmt.Errorf("%d answers were older than what had been acknowledged:\n%s", r.Violations, strings.Join(r.Said, "\n"))
	case r.Acknowledged == 0:
		return errors.New("no write was acknowledged")
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/integration/cluster"
)

const (
	// members keep the keys at first; one joins. A ring of so few has every key at
	// every member, so all keys move.
	members = 3
	// fillers write the keys side by side.
	fillers = 16
	// clients work side by side while it is measured.
	clients = 12
	// opTimeout bounds one operation, moveTimeout one move and the leaving after it.
	opTimeout   = 20 * time.Second
	moveTimeout = 15 * time.Minute
	// alikeTimeout bounds the check that everything has moved.
	alikeTimeout = time.Minute
	// look is how often it is looked how far the move is.
	look = 50 * time.Millisecond
	// seed makes the choices of the clients.
	seed = 1
	// unlimited is the sync rate that stands for none, in bytes a second.
	unlimited = 1 << 30
)

// bench is one run.
type bench struct {
	binary, dir string
	keys, size  int
	rate        int
	rest        time.Duration
	syncRates   []string
	out         io.Writer

	ring *cluster.Cluster
	apis []backend.Backend
}

// move is what was measured of one.
type move struct {
	rate            string
	rest, meanwhile figures
	took            time.Duration
	keys, bytes     uint64
}

func (b *bench) play(ctx context.Context) (err error) {
	if b.ring, err = cluster.New(cluster.Config{Binary: b.binary, Dir: b.dir, Members: members + 1, Founders: members}); err != nil {
		return err
	}
	if err := b.ring.Start(ctx); err != nil {
		return err
	}
	for _, m := range b.ring.Founders() {
		api, err := m.Client()
		if err != nil {
			return err
		}
		b.apis = append(b.apis, api)
	}
	begun := time.Now()
	if err := b.fill(ctx); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%d keys of %d bytes at %d members, written in %.1f s; %d operations a second\n",
		b.keys, b.size, members, time.Since(begun).Seconds(), b.rate)
	var moves []*move
	for _, rate := range b.syncRates {
		m, err := b.move(ctx, rate)
		if err != nil {
			return fmt.Errorf("with sync rate %q: %w", rate, err)
		}
		moves = append(moves, m)
	}
	return b.print(moves)
}

func key(i int) string { return fmt.Sprintf("move/%07d", i) }

func (b *bench) value() []byte { return bytes.Repeat([]byte{'v'}, b.size) }

// fill writes all keys.
func (b *bench) fill(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range fillers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < b.keys && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if _, err := b.apis[i%len(b.apis)].Put(ctx, key(i), b.value(), backend.PutOptions{}); err != nil {
					cancel(fmt.Errorf("put %q: %w", key(i), err))
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// move lets the last member join with a sync rate, and leave again. It measures
// operations at rest before, and meanwhile.
func (b *bench) move(ctx context.Context, rate string) (_ *move, err error) {
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	result := &move{rate: rate}
	joiner := b.ring.Members[members]
	switch rate {
	case "":
		result.rate, joiner.ExtraArgs = "default", nil
	case "unlimited":
		joiner.ExtraArgs = []string{"-sync-rate", fmt.Sprint(unlimited)}
	default:
		joiner.ExtraArgs = []string{"-sync-rate", rate}
	}
	w := b.work(ctx)
	defer func() { err = errors.Join(err, w.stop()) }()
	select {
	case <-time.After(b.rest):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	result.rest = w.figures()

	// The start of a process is no part of the move: it begins with the change.
	before, err := b.ring.Members[0].Ring(ctx)
	if err != nil {
		return nil, err
	}
	if err := joiner.Start(); err != nil {
		return nil, err
	}
	var begun time.Time
	for again := time.NewTicker(look); ; {
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return nil, ctx.Err()
		}
		now, err := b.ring.Members[0].Ring(ctx)
		if err != nil {
			return nil, err
		}
		if begun.IsZero() && now.Epoch > before.Epoch {
			begun = time.Now()
			w.figures() // from here on
		}
		for _, m := range now.Members {
			if m.Name == joiner.Name && m.Sync != nil {
				result.keys, result.bytes = max(result.keys, m.Sync.Keys), max(result.bytes, m.Sync.Bytes)
			}
		}
		if !begun.IsZero() && !now.Joint {
			again.Stop()
			break
		}
	}
	result.took, result.meanwhile = time.Since(begun), w.figures()
	if _, err := cluster.WaitRing(ctx, b.ring.Members, nil); err != nil {
		return nil, err
	}
	if err := b.alike(ctx, joiner); err != nil {
		return nil, err
	}
	if err := joiner.Leave(ctx); err != nil {
		return nil, err
	}
	_, err = cluster.WaitRing(ctx, b.ring.Founders(), nil)
	return result, err
}

// alike waits until every owner, the newcomer included, has its copy of every key.
func (b *bench) alike(ctx context.Context, at *cluster.Member) error {
	ctx, cancel := context.WithTimeout(ctx, alikeTimeout)
	defer cancel()
	return cluster.Wait(ctx, "all copies to be there", func(ctx context.Context) error {
		page, err := at.Verify(ctx, false)
		switch {
		case err != nil:
			return err
		case page.Keys < b.keys:
			return fmt.Errorf("%d of %d keys are there", page.Keys, b.keys)
		case len(page.Problems) > 0 || len(page.Silent) > 0:
			return fmt.Errorf("%d of %d keys are not alike, such as %+v; silent: %v", len(page.Problems), page.Keys, page.Problems, page.Silent)
		}
		return nil
	})
}

// print writes one table.
func (b *bench) print(moves []*move) error {
	t := tabwriter.NewWriter(b.out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nsync rate\tmove s\tMiB/s\tkeys/s\toperation\trest p50 ms\tmove p50 ms\trest p99 ms\tmove p99 ms\tp99 ratio\tslowest ms\toperations\t")
	for _, m := range moves {
		seconds := m.took.Seconds()
		for _, kind := range []string{"read", "write"} {
			r, d := m.rest[kind], m.meanwhile[kind]
			fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.0f\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%d and %d\t\n", m.rate, seconds, float64(m.bytes)/seconds/(1<<20), float64(m.keys)/seconds, kind,
				ms(r.p50), ms(d.p50), ms(r.p99), ms(d.p99), float64(d.p99)/float64(r.p99), ms(d.slowest), r.count, d.count)
		}
	}
	return t.Flush()
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (b *bench) close() error {
	if b.ring == nil {
		return nil
	}
	return b.ring.Close()
}

// work is clients at work.
type work struct {
	bench *bench
	wg    sync.WaitGroup
	end   context.CancelCauseFunc
	ctx   context.Context

	mu    sync.Mutex
	times map[string][]time.Duration
}

// work starts the clients. Each operation is due at a time of its own and counts
// from then on, also when the one before it is late.
func (b *bench) work(ctx context.Context) *work {
	w := &work{bench: b, times: map[string][]time.Duration{}}
	w.ctx, w.end = context.WithCancelCause(ctx)
	every := time.Second * clients / time.Duration(b.rate)
	begun := time.Now()
	for c := range clients {
		w.wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(c)))
			for n := 0; ; n++ {
				due := begun.Add(time.Duration(n)*every + every*time.Duration(c)/clients)
				select {
				case <-time.After(time.Until(due)):
				case <-w.ctx.Done():
					return
				}
				w.one(r, due)
			}
		})
	}
	return w
}

// one does one operation.
func (w *work) one(r *rand.Rand, due time.Time) {
	// Not the context of the work: what is under way comes to its end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), opTimeout)
	defer cancel()
	api, k := w.bench.apis[r.IntN(len(w.bench.apis))], key(r.IntN(w.bench.keys))
	kind := "read"
	var err error
	if r.IntN(3) == 0 {
		kind = "write"
		_, err = api.Put(ctx, k, w.bench.value(), backend.PutOptions{})
	} else {
		var e *backend.Entry
		if e, err = api.Get(ctx, k, backend.GetOptions{}); err == nil && (e == nil || len(e.Value) != w.bench.size) {
			err = fmt.Errorf("%q is not what was written", k)
		}
	}
	if err != nil {
		w.end(fmt.Errorf("%s: %w", kind, err))
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.times[kind] = append(w.times[kind], time.Since(due))
}

// stop ends the clients and returns the error of the first that failed.
func (w *work) stop() error {
	w.end(nil)
	w.wg.Wait()
	if err := context.Cause(w.ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

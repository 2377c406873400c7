package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// opTimeout bounds one attempt at an operation.
	opTimeout = 5 * time.Second
	// maxAttempts is how often an operation is tried.
	maxAttempts = 5
	// prefix begins the demo's keys.
	prefix = "demo/"
)

// store is what the demo does to keys, measured. Each key has one writer and one
// value, so that a write whose outcome is unknown can be repeated.
type store struct {
	backend backend.Backend
	measure *measure
	retried atomic.Int64
}

func keyOf(i int) string   { return fmt.Sprintf("%s%05d", prefix, i) }
func valueOf(i int) string { return fmt.Sprintf("the value of key %d", i) }

// do carries out an operation, again when the contract says that this may help.
func (s *store) do(ctx context.Context, kind string, f func(context.Context) error) (err error) {
	begin := time.Now()
	for range maxAttempts {
		attempt, cancel := context.WithTimeout(ctx, opTimeout)
		err = f(attempt)
		cancel()
		switch backend.CodeOf(err) {
		case 0:
			s.measure.add(kind, begin)
			return nil
		case backend.UnknownOutcome, backend.NoQuorum, backend.NotReady:
			if ctx.Err() != nil {
				return err
			}
			s.retried.Add(1)
		default:
			return err
		}
	}
	return fmt.Errorf("after %d attempts: %w", maxAttempts, err)
}

func (s *store) put(ctx context.Context, i int) error {
	return s.do(ctx, "put", func(ctx context.Context) error {
		_, err := s.backend.Put(ctx, keyOf(i), []byte(valueOf(i)), backend.PutOptions{})
		return err
	})
}

// get reports whether the key holds what was written.
func (s *store) get(ctx context.Context, i int) (right bool, err error) {
	err = s.do(ctx, "get", func(ctx context.Context) error {
		e, err := s.backend.Get(ctx, keyOf(i), backend.GetOptions{})
		right = e != nil && string(e.Value) == valueOf(i)
		return err
	})
	return right, err
}

func (s *store) delete(ctx context.Context, i int) error {
	return s.do(ctx, "delete", func(ctx context.Context) error {
		return s.backend.Delete(ctx, keyOf(i), backend.DeleteOptions{})
	})
}

// list counts the demo's keys.
func (s *store) list(ctx context.Context) (n int, err error) {
	err = s.do(ctx, "list", func(ctx context.Context) error {
		page, err := s.backend.List(ctx, backend.ListQuery{Prefix: prefix})
		if err == nil {
			n = len(page.Items)
		}
		return err
	})
	return n, err
}

// wrong reads so many keys and counts those that do not hold what was written.
func (s *store) wrong(ctx context.Context, keys, workers int) (int, error) {
	var wrong atomic.Int64
	err := each(ctx, keys, workers, func(ctx context.Context, i int) error {
		right, err := s.get(ctx, i)
		if err == nil && !right {
			wrong.Add(1)
		}
		return err
	})
	return int(wrong.Load()), err
}

// each calls f with 0 to n-1 from several goroutines and returns the first error,
// after which no call begins.
func each(ctx context.Context, n, workers int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := f(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

package cluster

import (
	"context"
	"fmt"
	"time"
)

// pollEvery is how often a condition is looked at.
const pollEvery = 10 * time.Millisecond

// Wait returns when condition returns nil. When ctx ends before, the error says
// what was waited for and why the condition did not hold the last time.
func Wait(ctx context.Context, what string, condition func(context.Context) error) error {
	return wait(ctx, pollEvery, what, condition)
}

func wait(ctx context.Context, every time.Duration, what string, condition func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := fmt.Errorf("it was never looked at")
	for {
		if err := condition(ctx); err == nil {
			return nil
		} else if ctx.Err() == nil {
			last = err // and not that the time was over
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w; the last time: %w", what, ctx.Err(), last)
		}
	}
}

package moving

import (
	"context"
	"slices"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// retries is how often something is asked again that failed for the moment: a
	// member that is being restarted does not end a move.
	retries = 5
	// firstPause is how long to wait before the first of them; each waits twice as
	// long as the one before.
	firstPause = 250 * time.Millisecond
)

// passing are the errors after which it is worth asking again. A write that may
// have happened is among them because every write here is conditional.
var passing = []backend.Code{backend.NotReady, backend.NoQuorum, backend.UnknownOutcome}

// patiently asks, each time within the time-out, until the answer is no passing
// error or one of also.
func patiently[T any](ctx context.Context, timeout time.Duration, ask func(context.Context) (T, error), also ...backend.Code) (T, error) {
	for try := 0; ; try++ {
		v, err := within(ctx, timeout, ask)
		code := backend.CodeOf(err)
		if err == nil || try == retries || !slices.Contains(passing, code) && !slices.Contains(also, code) {
			return v, err
		}
		pause := time.NewTimer(firstPause << try)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return v, err
		}
	}
}

func within[T any](ctx context.Context, timeout time.Duration, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return ask(ctx)
}

// reach fails when the backend does not answer, without asking again. The limits
// and capabilities of one that does not would be guesses.
func reach(ctx context.Context, b backend.Backend, timeout time.Duration) error {
	_, err := within(ctx, timeout, func(ctx context.Context) (*backend.ListResult, error) {
		return b.List(ctx, backend.ListQuery{Limit: 1})
	})
	return err
}

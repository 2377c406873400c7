package plugin

import (
	"context"
	"strconv"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// timeoutKey is the metadata that carries how much time a call has left, in
	// decimal microseconds.
	timeoutKey = "chord-timeout-us"
	// answerGrace is how much longer than that the host waits: the plugin knows
	// whether a call that ran out of time may still happen, and its answer has to
	// arrive.
	answerGrace = 250 * time.Millisecond
)

// outgoing returns the context of a call over gRPC: it carries the time that
// ctx has left, ends answerGrace after ctx's deadline, and at once when ctx is
// cancelled. gRPC is not told of a deadline: that would be a second one, with a
// header of its own in each call and a timer on either side.
func outgoing(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	call, cancel := context.WithCancel(context.WithoutCancel(ctx))
	// Rounded up: the plugin's deadline is never earlier than the host's.
	left := max(time.Until(deadline).Microseconds(), 0) + 1
	stop := context.AfterFunc(ctx, func() {
		if ctx.Err() == context.Canceled {
			cancel()
			return
		}
		time.AfterFunc(answerGrace, cancel)
	})
	return metadata.AppendToOutgoingContext(call, timeoutKey, strconv.FormatInt(left, 10)), func() {
		stop()
		cancel()
	}
}

// over returns why ctx has ended, nil when it has not. A plugin's answer to a
// deadline can be here before the timer of the context has run, so the clock
// counts.
func over(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// incoming returns the context of a call that arrived, which ends by the
// deadline that the host really has.
func incoming(ctx context.Context) (context.Context, context.CancelFunc, error) {
	values := metadata.ValueFromIncomingContext(ctx, timeoutKey)
	if len(values) == 0 {
		return ctx, func() {}, nil // gRPC ends it with the call
	}
	left, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || left < 1 {
		return nil, nil, backend.Errorf(backend.Invalid, "", "the metadata %s is %q and must be microseconds, at least 1", timeoutKey, values[0])
	}
	const longest = int64(1<<63-1) / int64(time.Microsecond)
	call, cancel := context.WithTimeout(ctx, time.Duration(min(left, longest))*time.Microsecond)
	return call, cancel, nil
}

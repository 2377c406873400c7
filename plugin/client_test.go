package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin"
)

func TestInfo(t *testing.T) {
	c := open(t, nil)
	require.Equal(t, plugin.Info{Version: "test 1.2", Protocol: plugin.ProtocolVersion, Capabilities: []string{"watch"}}, c.Info())
	require.Equal(t, backend.DefaultLimits(), c.Limits())
	require.Positive(t, c.PID())

	c = open(t, map[string]string{"max_value_size": "100", "admin": "true"})
	require.Equal(t, []string{"admin", "reshape", "watch"}, c.Info().Capabilities)
	require.Equal(t, backend.Limits{MaxKeySize: backend.DefaultMaxKeySize, MaxValueSize: 100}, c.Limits())
}

// A host often has no deadline; nothing may depend on one.
func TestRoundTripWithoutDeadline(t *testing.T) {
	c := open(t, nil)
	ctx := context.Background()
	value := make([]byte, 7<<20)
	for i := range value {
		value[i] = byte(rand.Uint32())
	}
	index, err := c.Put(ctx, "large", value, backend.PutOptions{Flags: 1<<64 - 1, If: backend.IfAbsent()})
	require.NoError(t, err)
	require.NotZero(t, index)
	e, err := c.Get(ctx, "large", backend.GetOptions{})
	require.NoError(t, err)
	require.True(t, bytes.Equal(value, e.Value))
	e.Value = nil
	require.Equal(t, &backend.Entry{Key: "large", Flags: 1<<64 - 1, CreateIndex: index, ModifyIndex: index}, e)

	e, err = c.Get(ctx, "missing", backend.GetOptions{})
	require.NoError(t, err)
	require.Nil(t, e)
}

// The largest value that a plugin may be configured for fits a message.
func TestLargestValue(t *testing.T) {
	const largest = 63 << 20
	c := open(t, map[string]string{"max_value_size": fmt.Sprint(largest)})
	_, err := c.Put(t.Context(), "k", make([]byte, largest), backend.PutOptions{})
	require.NoError(t, err)
	e, err := c.Pop(t.Context(), "k")
	require.NoError(t, err)
	require.Len(t, e.Value, largest)

	_, err = plugin.Open(t.Context(), plugin.Config{Path: testPlugin, Configuration: map[string]string{"max_value_size": fmt.Sprint(largest + 1)}})
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "may be at most 66060288 in a plugin")
}

// A listing is not bound by the size of a message.
func TestListLargerThanAMessage(t *testing.T) {
	const entries, size = 5000, 16 << 10 // 80 MiB
	c := open(t, nil)
	value := bytes.Repeat([]byte("v"), size)
	for i := range entries {
		_, err := c.Put(t.Context(), fmt.Sprintf("list/%05d", i), value, backend.PutOptions{})
		require.NoError(t, err)
	}
	r, err := c.List(t.Context(), backend.ListQuery{Prefix: "list/", Values: true})
	require.NoError(t, err)
	require.Len(t, r.Items, entries)
	require.False(t, r.More)
	for i, it := range r.Items {
		require.Equal(t, fmt.Sprintf("list/%05d", i), it.Name)
		require.Equal(t, it.Name, it.Entry.Key)
		require.Len(t, it.Entry.Value, size)
	}
	require.Equal(t, r.Items[entries-1].Entry.ModifyIndex, r.Index)

	r, err = c.List(t.Context(), backend.ListQuery{Prefix: "list/", Separator: "/", After: "list/00009", Limit: 2})
	require.NoError(t, err)
	require.Equal(t, []string{"list/00010", "list/00011"}, r.Names())
	require.True(t, r.More)
	require.Nil(t, r.Items[0].Entry)
}

// Every code crosses the border with everything that belongs to it.
func TestEveryCodeThroughTheProcess(t *testing.T) {
	c := open(t, nil)
	for code := backend.Invalid; code.Known(); code++ {
		key := fmt.Sprintf("error/%d", code)
		want := &backend.Error{Code: code, Key: key, Message: "as “asked”", Answered: 2, Owners: 5}
		_, err := c.Get(t.Context(), key, backend.GetOptions{})
		require.Equal(t, want, err)
		_, err = c.Put(t.Context(), key, nil, backend.PutOptions{})
		require.Equal(t, want, err)
		_, err = c.Txn(t.Context(), []backend.TxnOp{{Verb: backend.VerbSet, Key: "good"}, {Verb: backend.VerbGet, Key: key}, {Verb: backend.VerbDelete, Key: "error/1"}})
		require.Equal(t, backend.OpsError([]backend.OpError{{Op: 1, Code: code, Key: key, Message: want.Message}, {Op: 2, Code: backend.Invalid, Key: "error/1", Message: want.Message}}), err)
		tx, err := c.Begin(t.Context(), backend.TxOptions{})
		require.NoError(t, err)
		require.NoError(t, tx.Put(t.Context(), key, nil, backend.PutOptions{}))
		require.Equal(t, want, tx.Commit(t.Context()))
	}
	_, err := c.Get(t.Context(), "error/4000", backend.GetOptions{})
	require.ErrorIs(t, err, backend.ErrInternal)
	require.ErrorContains(t, err, "code 4000, which this host does not know: as “asked”")
	_, err = c.Get(t.Context(), "plain", backend.GetOptions{})
	require.ErrorIs(t, err, backend.ErrInternal)
	require.ErrorContains(t, err, "an error without a code")
}

func TestAdmin(t *testing.T) {
	c := open(t, map[string]string{"admin": "true"})
	status, err := c.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, &backend.Status{Name: "a", Role: "client", State: "serving", Epoch: 1<<64 - 1, Quorum: true, UptimeSeconds: 1.5}, status)
	members, err := c.Members(t.Context())
	require.NoError(t, err)
	require.Equal(t, []backend.Member{{Name: "a", State: "alive"}, {Name: "b", State: "dead"}}, members)
	_, err = c.Ring(t.Context())
	require.Equal(t, &backend.Error{Code: backend.NotReady, Message: "the ring is not known yet"}, err)
	location, err := c.Locate(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, &backend.Location{Key: "k", Points: []string{"00ff"}, Owners: []backend.OwnerCopy{{Name: "a", Index: 1 << 52, Live: true}}}, location)

	c = open(t, nil)
	_, err = c.Status(t.Context())
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "admin")
}

// The backend's own answer to a passed deadline arrives: it alone knows how many
// owners answered.
func TestDeadlineReachesThePlugin(t *testing.T) {
	c := open(t, nil)
	_, err := c.Get(within(t, 50*time.Millisecond), "hang", backend.GetOptions{})
	want := &backend.Error{Code: backend.NoQuorum, Key: "hang", Message: "the owners are slow", Answered: 1, Owners: 3, Cause: context.DeadlineExceeded}
	require.Equal(t, want, err)
	_, err = c.Put(within(t, 50*time.Millisecond), "hang", nil, backend.PutOptions{})
	want.Code = backend.UnknownOutcome
	require.Equal(t, want, err)
	waitForHangs(t, c, "2 2")
}

// A backend that does not keep to the deadline does not keep the host.
func TestDeadlineWithoutAnswer(t *testing.T) {
	c := open(t, nil)
	for key, call := range waitingCalls(c, "deaf") {
		start := time.Now()
		err := call(within(t, 50*time.Millisecond))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, key, backend.CodeOf(err))
		require.Less(t, time.Since(start), 5*time.Second)
	}
}

func TestCancellationReachesThePlugin(t *testing.T) {
	c := open(t, nil)
	n := 0
	for code, call := range waitingCalls(c, "hang") {
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- call(ctx) }()
		waitForHangs(t, c, fmt.Sprintf("%d %d", n+1, n))
		cancel()
		err := <-result
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, code, backend.CodeOf(err))
		n++
		waitForHangs(t, c, fmt.Sprintf("%d %d", n, n))
	}
	require.Equal(t, 2, n)
}

// waitingCalls yields a read and a write of key, with the code of an outcome
// that is not known.
func waitingCalls(c *plugin.Client, key string) func(yield func(backend.Code, func(context.Context) error) bool) {
	return func(yield func(backend.Code, func(context.Context) error) bool) {
		if yield(backend.NoQuorum, func(ctx context.Context) error {
			_, err := c.Get(ctx, key, backend.GetOptions{})
			return err
		}) {
			yield(backend.UnknownOutcome, func(ctx context.Context) error {
				_, err := c.Put(ctx, key, nil, backend.PutOptions{})
				return err
			})
		}
	}
}

// waitForHangs waits until the plugin has counted so many calls that hung and
// that were given up.
func waitForHangs(t *testing.T, c *plugin.Client, want string) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		e, err := c.Get(t.Context(), "hangs", backend.GetOptions{})
		if err != nil {
			return err
		}
		if string(e.Value) != want {
			return fmt.Errorf("the plugin counts %q and not %q", e.Value, want)
		}
		return nil
	})
}

// eventually waits until condition returns nil and fails with what it says last.
func eventually(t *testing.T, timeout time.Duration, condition func() error) {
	t.Helper()
	deadline := time.After(timeout)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			require.NoError(t, errors.Join(fmt.Errorf("not within %v", timeout), err))
		case <-again.C:
		}
	}
}

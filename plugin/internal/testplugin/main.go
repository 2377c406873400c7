// Command testplugin is the plugin that the tests of package plugin load: the
// memory backend, with keys at which it misbehaves on purpose.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
	"github.com/chord-plugin/chord-plugin/plugin"
)

func main() {
	if !plugin.Launched() {
		fmt.Fprint(os.Stderr, plugin.NotAPluginText)
		os.Exit(1)
	}
	if err := plugin.Serve(plugin.ServeConfig{Open: open, Version: "test 1.2"}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if linger.Load() {
		select {}
	}
}

// linger keeps the process although it does not serve any more.
var linger atomic.Bool

// open knows these names of the configuration: "max_value_size"; "memory",
// which it always is; "closed_file", a file to write when the backend is closed; "admin", which announces an
// operator's interface when it is "true"; "blind", which hides what the backend can
// do beyond backend.Backend when it is "true"; "linger", which keeps the process when
// it has ended serving, if it is "true"; "open", which makes opening "fail",
// "wait" or "exit"; "close", which makes closing "fail" or "wait"; "stop", what
// is done before closing: "pass" passes at once, "fail" fails, "wait" waits until
// the context ends, "deaf" longer; "stop_timeout", how long that may take;
// "stopped_file", a file in which that is noted; "rolled_back_file", a file in which
// each rollback of a transaction is noted.
func open(ctx context.Context, config map[string]string) (backend.Backend, backend.Admin, error) {
	limits := backend.DefaultLimits()
	m := &misbehaving{config: config, ended: make(chan struct{})}
	for name, value := range config {
		switch name {
		case "max_value_size":
			n, err := strconv.Atoi(value)
			if err != nil {
				return nil, nil, backend.Errorf(backend.Invalid, "", "max_value_size is %q and must be a number", value)
			}
			limits.MaxValueSize = n
		case "linger":
			linger.Store(value == "true")
		case "stop_timeout":
			d, err := time.ParseDuration(value)
			if err != nil {
				return nil, nil, backend.Errorf(backend.Invalid, "", "stop_timeout is %q and must be a duration", value)
			}
			m.stopTimeout = d
		case "memory", "closed_file", "admin", "blind", "open", "close", "stop", "stopped_file", "rolled_back_file":
		default:
			return nil, nil, backend.Errorf(backend.Invalid, "", "there is no setting %q", name)
		}
	}
	switch config["open"] {
	case "fail":
		return nil, nil, fmt.Errorf("the disk is on fire")
	case "wait":
		<-ctx.Done()
		return nil, nil, ctx.Err()
	case "exit":
		os.Exit(3)
	}
	m.Store = memory.New(limits)
	if config["blind"] == "true" {
		return struct{ backend.Backend }{m}, nil, nil
	}
	if config["admin"] == "true" {
		return m, operator{}, nil
	}
	return m, nil, nil
}

// misbehaving is a memory store with special keys.
type misbehaving struct {
	*memory.Store
	config      map[string]string
	stopTimeout time.Duration

	// begun and given count the calls that hung and those that their context
	// ended.
	begun, given atomic.Int64
	once         sync.Once
	ended        chan struct{}
}

// Get reads special keys: "hangs" are the counts of calls that hung and were
// given up, "env/NAME" is an environment variable, "env" how many there are.
func (m *misbehaving) Get(ctx context.Context, key string, opts backend.GetOptions) (*backend.Entry, error) {
	name, isEnv := strings.CutPrefix(key, "env/")
	switch {
	case key == "hangs":
		return &backend.Entry{Key: key, Value: fmt.Appendf(nil, "%d %d", m.begun.Load(), m.given.Load())}, nil
	case isEnv:
		if value, ok := os.LookupEnv(name); ok {
			return &backend.Entry{Key: key, Value: []byte(value)}, nil
		}
		return nil, nil
	}
	if err := m.misbehave(ctx, key, backend.NoQuorum); err != nil {
		return nil, err
	}
	return m.Store.Get(ctx, key, opts)
}

func (m *misbehaving) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) (uint64, error) {
	if err := m.misbehave(ctx, key, backend.UnknownOutcome); err != nil {
		return 0, err
	}
	return m.Store.Put(ctx, key, value, opts)
}

// Txn misbehaves as the keys of its operations say.
func (m *misbehaving) Txn(ctx context.Context, ops []backend.TxnOp) (*backend.TxnResult, error) {
	var failed []backend.OpError
	for i, op := range ops {
		err := m.misbehave(ctx, op.Key, backend.UnknownOutcome)
		var e *backend.Error
		if errors.As(err, &e) {
			failed = append(failed, backend.OpError{Op: i, Code: e.Code, Key: e.Key, Message: e.Message})
		} else if err != nil {
			return nil, err
		}
	}
	if len(failed) > 0 {
		return nil, backend.OpsError(failed)
	}
	return m.Store.Txn(ctx, ops)
}

// Begin starts a transaction that misbehaves when it is committed, as the keys say
// that it wrote.
func (m *misbehaving) Begin(ctx context.Context, opts backend.TxOptions) (backend.Tx, error) {
	tx, err := m.Store.Begin(ctx, opts)
	return &misbehavingTx{Tx: tx, m: m}, err
}

type misbehavingTx struct {
	backend.Tx
	m *misbehaving

	mu    sync.Mutex
	wrote []string
}

func (t *misbehavingTx) Put(ctx context.Context, key string, value []byte, opts backend.PutOptions) error {
	t.mu.Lock()
	t.wrote = append(t.wrote, key)
	t.mu.Unlock()
	return t.Tx.Put(ctx, key, value, opts)
}

func (t *misbehavingTx) Commit(ctx context.Context) error {
	t.mu.Lock()
	wrote := t.wrote
	t.mu.Unlock()
	for _, key := range wrote {
		if err := t.m.misbehave(ctx, key, backend.UnknownOutcome); err != nil {
			return err
		}
	}
	return t.Tx.Commit(ctx)
}

func (t *misbehavingTx) Rollback(ctx context.Context) error {
	return errors.Join(t.m.note("rolled_back_file", "rolled back\n"), t.Tx.Rollback(ctx))
}

// misbehave does what a key's name says: "error/N" fails with code N, "plain"
// with an error that is not of the contract, "crash" ends the process, "hang"
// waits for the context, "deaf" waits for the end of the backend.
func (m *misbehaving) misbehave(ctx context.Context, key string, late backend.Code) error {
	code, isError := strings.CutPrefix(key, "error/")
	switch {
	case isError:
		n, err := strconv.ParseUint(code, 10, 32)
		if err != nil {
			return backend.Errorf(backend.Invalid, key, "not a code: %w", err)
		}
		return &backend.Error{Code: backend.Code(n), Key: key, Message: "as \u201casked\u201d", Answered: 2, Owners: 5}
	case key == "plain":
		return fmt.Errorf("an error without a code")
	case key == "crash":
		os.Exit(3)
	case key == "hang":
		m.begun.Add(1)
		select {
		case <-ctx.Done():
			m.given.Add(1)
			return &backend.Error{Code: late, Key: key, Message: "the owners are slow", Answered: 1, Owners: 3}
		case <-m.ended:
			return backend.Errorf(backend.Closed, key, "closed while it hung")
		}
	case key == "deaf":
		m.begun.Add(1)
		<-m.ended
	}
	return nil
}

func (m *misbehaving) StopTimeout() time.Duration { return m.stopTimeout }

func (m *misbehaving) Stop(ctx context.Context) error {
	if err := m.note("stopped_file", "stopping\n"); err != nil {
		return err
	}
	switch m.config["stop"] {
	case "fail":
		return backend.Errorf(backend.NoQuorum, "", "too few members are here")
	case "wait":
		<-ctx.Done()
		if err := m.note("stopped_file", ctx.Err().Error()+"\n"); err != nil {
			return err
		}
		return backend.Errorf(backend.NoQuorum, "", "gave up: %w", ctx.Err())
	case "deaf":
		select {}
	}
	return m.note("stopped_file", "stopped\n")
}

// note adds a line to the file that a setting names.
func (m *misbehaving) note(setting, line string) error {
	file := m.config[setting]
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

func (m *misbehaving) Close() error {
	m.once.Do(func() { close(m.ended) })
	switch m.config["close"] {
	case "fail":
		return backend.Errorf(backend.Internal, "", "the disk is full")
	case "wait":
		select {}
	}
	if file := m.config["closed_file"]; file != "" {
		if err := os.WriteFile(file, []byte("closed"), 0o600); err != nil {
			return err
		}
	}
	return m.Store.Close()
}

// operator gives fixed answers.
type operator struct{}

func (operator) Status(context.Context) (*backend.Status, error) {
	return &backend.Status{Name: "a", Role: "client", State: "serving", Epoch: 1<<64 - 1, Quorum: true, UptimeSeconds: 1.5}, nil
}

func (operator) Members(context.Context) ([]backend.Member, error) {
	return []backend.Member{{Name: "a", State: "alive"}, {Name: "b", State: "dead"}}, nil
}

func (operator) Ring(context.Context) (*backend.Ring, error) {
	return nil, backend.Errorf(backend.NotReady, "", "the ring is not known yet")
}

func (operator) Locate(_ context.Context, key string) (*backend.Location, error) {
	return &backend.Location{Key: key, Points: []string{"00ff"}, Owners: []backend.OwnerCopy{{Name: "a", Index: 1 << 52, Live: true}}}, nil
}

func (operator) Leave(ctx context.Context) error {
	if _, ok := ctx.Deadline(); ok {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (operator) Remove(_ context.Context, req backend.RemoveRequest) (*backend.RemoveReport, error) {
	if !slices.Contains(req.Names, "b") {
		return nil, backend.Errorf(backend.Invalid, "", "there is no member %q", req.Names)
	}
	return &backend.RemoveReport{Epoch: 1<<64 - 1, Survivors: []string{fmt.Sprint(req.Force, req.Confirm)}, AtRisk: 0.5, Missing: req.Names}, nil
}

func (operator) Verify(ctx context.Context, q backend.VerifyQuery) (*backend.VerifyPage, error) {
	if _, ok := ctx.Deadline(); ok {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &backend.VerifyPage{Keys: q.Limit, More: q.Repair, Next: "<" + q.After + ">", Problems: []backend.KeyProblem{{Key: "k", Missing: []string{"b"}, Copies: 1, Owners: 2}}}, nil
}

package plugin_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/plugin"
	"github.com/chord-plugin/chord-plugin/plugin/internal/frozen"
)

// A host and a plugin that were built at different times. See also
// TestConformanceWithFrozen.

// oldHost is a host that shares no code with package plugin: it knows a frozen copy of
// the protocol.
type oldHost struct {
	t    *testing.T
	p    *frozen.Protocol
	conn *grpc.ClientConn
	// newer makes it send a field of a version to come in every message.
	newer bool
}

// connPlugin makes go-plugin return the bare connection.
type connPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (connPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return fmt.Errorf("this is a host and no plugin")
}

func (connPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// start starts a plugin's binary as a host does that speaks these protocol versions.
func start(t *testing.T, versions []int, path string, args ...string) (*goplugin.Client, error) {
	t.Helper()
	return startWith(t, true, versions, path, args...)
}

func startWith(t *testing.T, tls bool, versions []int, path string, args ...string) (*goplugin.Client, error) {
	t.Helper()
	sets := map[int]goplugin.PluginSet{}
	for _, n := range versions {
		sets[n] = goplugin.PluginSet{plugin.Name: connPlugin{}}
	}
	sockets, err := os.MkdirTemp("", "chord-") // one of t has too long a name
	require.NoError(t, err)
	cmd := exec.Command(path, args...)
	cmd.Env = []string{goplugin.EnvUnixSocketDir + "=" + sockets}
	process := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: plugin.Handshake, VersionedPlugins: sets, Cmd: cmd, SkipHostEnv: true,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC}, AutoMTLS: tls, Logger: hclog.NewNullLogger(),
	})
	t.Cleanup(func() {
		process.Kill()
		require.NoError(t, os.RemoveAll(sockets))
	})
	_, err = process.Start()
	return process, err
}

func openOldHost(t *testing.T, version string, tls bool) *oldHost {
	t.Helper()
	p, err := frozen.Load(version)
	require.NoError(t, err)
	process, err := startWith(t, tls, []int{1}, testPlugin)
	require.NoError(t, err)
	client, err := process.Client()
	require.NoError(t, err)
	conn, err := client.Dispense(plugin.Name)
	require.NoError(t, err)
	return &oldHost{t: t, p: p, conn: conn.(*grpc.ClientConn)}
}

// try makes a call with requests in protobuf's text format. What the host does not
// know of the replies it forgets, as protobuf does.
func (h *oldHost) try(ctx context.Context, method protoreflect.Name, requests ...string) ([]*dynamicpb.Message, error) {
	h.t.Helper()
	d := h.p.Backend.Methods().ByName(method)
	require.NotNil(h.t, d, method)
	var messages []*dynamicpb.Message
	for _, text := range requests {
		m, err := frozen.Parse(d.Input(), text)
		require.NoError(h.t, err)
		if h.newer {
			frozen.AddFuture(m)
		}
		messages = append(messages, m)
	}
	replies, err := frozen.Call(ctx, h.conn, d, messages...)
	for _, m := range replies {
		frozen.Forget(m)
	}
	return replies, err
}

// call makes a call that succeeds with one message.
func (h *oldHost) call(method protoreflect.Name, requests ...string) *dynamicpb.Message {
	h.t.Helper()
	replies, err := h.try(h.t.Context(), method, requests...)
	require.NoError(h.t, err)
	require.Len(h.t, replies, 1)
	return replies[0]
}

// wants makes a call that is answered with one message, given as text.
func (h *oldHost) wants(reply string, method protoreflect.Name, requests ...string) {
	h.t.Helper()
	got := h.call(method, requests...)
	want, err := frozen.Parse(got.Descriptor(), reply)
	require.NoError(h.t, err)
	require.True(h.t, protobuf.Equal(want, got), "%s: want %v, got %v", method, want, got)
}

// refused makes a call that fails with a code of the contract.
func (h *oldHost) refused(code backend.Code, method protoreflect.Name, requests ...string) {
	h.t.Helper()
	_, err := h.try(h.t.Context(), method, requests...)
	require.Equal(h.t, code, h.codeOf(err), "%v", err)
}

// codeOf reads the detail of a status by the frozen copy.
func (h *oldHost) codeOf(err error) backend.Code {
	h.t.Helper()
	details := status.Convert(err).Proto().GetDetails()
	require.Len(h.t, details, 1, "%v", err)
	require.Equal(h.t, "type.googleapis.com/chordplugin.v1.Error", details[0].GetTypeUrl())
	m := h.p.New("Error")
	require.NoError(h.t, protobuf.Unmarshal(details[0].GetValue(), m))
	return backend.Code(number(m, "code"))
}

// field follows names into a message.
func field(m protoreflect.Message, names ...protoreflect.Name) protoreflect.Value {
	v := m.Get(m.Descriptor().Fields().ByName(names[0]))
	if len(names) > 1 {
		return field(v.Message(), names[1:]...)
	}
	return v
}

func number(m *dynamicpb.Message, names ...protoreflect.Name) uint64 {
	return field(m, names...).Uint()
}

// keys works with what every version has.
func (h *oldHost) keys() {
	h.t.Helper()
	h.refused(backend.NotReady, "Get", `key: "k"`)
	configured := h.call("Configure", ``)
	require.EqualValues(h.t, 1, number(configured, "info", "protocol"))
	require.True(h.t, field(configured, "info", "ready").Bool())
	require.EqualValues(h.t, backend.DefaultMaxValueSize, number(configured, "limits", "max_value_size"))

	h.wants(``, "Get", `key: "k"`)
	first := number(h.call("Put", `key: "k" value: "one" flags: 7 if_index: 0`), "index")
	h.refused(backend.Conflict, "Put", `key: "k" value: "two" if_index: 0`)
	second := number(h.call("Put", fmt.Sprintf(`key: "k" value: "two" if_index: %d`, first)), "index")
	require.Greater(h.t, second, first)
	h.wants(fmt.Sprintf(`entry { key: "k" value: "two" create_index: %d modify_index: %d }`, first, second), "Get", `key: "k"`)
	met := number(h.call("Put", `key: "dir/a" value: ""`), "index")
	last := number(h.call("Put", `key: "dir/b"`), "index")
	h.wants(fmt.Sprintf(`items { name: "dir/" folded: true } items { name: "k" } last: true index: %d`, last), "List", `separator: "/"`)
	h.wants(fmt.Sprintf(`items { name: "dir/a" } more: true last: true index: %d`, met), "List", `prefix: "dir/" limit: 1`)
	h.wants(``, "Delete", `key: "dir/a"`)
	popped := h.call("Pop", `key: "dir/b"`)
	require.Equal(h.t, "dir/b", string(field(popped, "entry", "key").Bytes()))
	h.refused(backend.Invalid, "Put", `key: "/" value: ""`)
	h.refused(backend.Invalid, "Status", ``)
}

// transactions works with what came later.
func (h *oldHost) transactions() {
	h.t.Helper()
	done := h.call("Txn", `verb: "set" key: "x" value: "1"`, `verb: "set" key: "y" value: "2"`, `verb: "get" key: "x"`)
	require.True(h.t, field(done, "last").Bool())
	require.Equal(h.t, 3, field(done, "results").List().Len())
	failed, err := h.try(h.t.Context(), "Txn", `verb: "get" key: "x"`, `verb: "check-not-exists" key: "y"`)
	require.Equal(h.t, backend.Conflict, h.codeOf(err))
	require.Len(h.t, failed, 1)
	op := field(failed[0], "failed").List().Get(0).Message().Interface().(*dynamicpb.Message)
	require.EqualValues(h.t, 1, number(op, "op"))
	require.EqualValues(h.t, backend.Conflict, number(op, "code"))

	tx := number(h.call("Begin", ``), "transaction")
	h.wants(``, "TxPut", fmt.Sprintf(`transaction: %d put { key: "x" value: "3" }`, tx))
	require.Equal(h.t, "3", string(field(h.call("TxGet", fmt.Sprintf(`transaction: %d key: "x"`, tx)), "entry", "value").Bytes()))
	require.Equal(h.t, "1", string(field(h.call("Get", `key: "x"`), "entry", "value").Bytes()))
	h.wants(``, "Commit", fmt.Sprintf(`transaction: %d`, tx))
	h.refused(backend.TxnDone, "Commit", fmt.Sprintf(`transaction: %d`, tx))
	require.Equal(h.t, "3", string(field(h.call("Get", `key: "x"`), "entry", "value").Bytes()))
}

// locks makes a lock of what a lock is made of: a session, a transaction, a watch.
func (h *oldHost) locks() {
	h.t.Helper()
	session := func() []byte {
		h.t.Helper()
		return field(h.call("CreateSession", fmt.Sprintf(`ttl_ns: %d lock_delay_ns: -1`, time.Minute)), "session", "id").Bytes()
	}
	mine, other := session(), session()
	lock := func(id []byte) string { return fmt.Sprintf(`verb: "lock" key: "lock" value: "held" session: %q`, id) }
	h.call("Txn", lock(mine))
	held := h.call("Get", `key: "lock"`)
	token := number(held, "entry", "lock_token")
	require.Equal(h.t, string(mine), field(held, "entry", "session").String())
	require.NotZero(h.t, token)
	_, err := h.try(h.t.Context(), "Txn", lock(other))
	require.Equal(h.t, backend.Conflict, h.codeOf(err))

	// The other one waits for the key to change, which it does when the lock is lost.
	woken := make(chan error, 1)
	go func() {
		_, err := h.try(h.t.Context(), "Watch", fmt.Sprintf(`key: "lock" after: %d`, number(held, "entry", "modify_index")))
		woken <- err
	}()
	h.call("RenewSession", fmt.Sprintf(`id: %q`, mine))
	h.call("DestroySession", fmt.Sprintf(`id: %q`, mine))
	require.NoError(h.t, <-woken)
	h.call("Txn", lock(other))
	newer := number(h.call("Get", `key: "lock"`), "entry", "lock_token")
	require.Greater(h.t, newer, token)
	h.call("Fence", fmt.Sprintf(`fence { key: "lock" token: %d }`, newer))
	h.refused(backend.Fenced, "Put", fmt.Sprintf(`key: "k" value: "late" fence { key: "lock" token: %d }`, token))
	h.call("Put", fmt.Sprintf(`key: "k" value: "in time" fence { key: "lock" token: %d }`, newer))
}

// A host that was built long ago, or that is newer, drives today's plugin.
func TestOldHost(t *testing.T) {
	for _, version := range []string{frozen.First, frozen.V1} {
		for _, newer := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, newer %v", version, newer), func(t *testing.T) {
				h := openOldHost(t, version, true)
				h.newer = newer
				h.keys()
				if version == frozen.V1 {
					h.transactions()
					h.locks()
				}
				h.wants(``, "Close", ``)
				h.refused(backend.Closed, "Get", `key: "k"`)
			})
		}
	}
}

// A host in a language that cannot make a certificate has to do without.
func TestHostWithoutCertificate(t *testing.T) {
	openOldHost(t, frozen.First, false).keys()
}

// Today's host works with a plugin of long ago, and asks nothing of it that it would
// not do.
func TestOldPlugin(t *testing.T) {
	c, err := plugin.Open(t.Context(), plugin.Config{Path: oldPlugin, Args: []string{"1"}})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	ctx := t.Context()
	require.Equal(t, plugin.Info{Version: "old", Protocol: 1, Capabilities: []string{"clairvoyance"}}, c.Info())
	require.Zero(t, c.Capabilities())
	require.Equal(t, 1000, c.Limits().MaxValueSize)

	first, err := c.Put(ctx, "a/k", []byte("v"), backend.PutOptions{Flags: 5, If: backend.IfAbsent()})
	require.NoError(t, err)
	_, err = c.Put(ctx, "a/k", nil, backend.PutOptions{If: backend.IfAbsent()})
	require.Equal(t, &backend.Error{Code: backend.Conflict, Key: "a/k", Message: fmt.Sprintf("the index is %d", first)}, err)
	second, err := c.Put(ctx, "a/k", []byte{}, backend.PutOptions{If: backend.IfIndex(first)})
	require.NoError(t, err)
	e, err := c.Get(ctx, "a/k", backend.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, &backend.Entry{Key: "a/k", Value: []byte{}, CreateIndex: first, ModifyIndex: second}, e)
	_, err = c.Put(ctx, "a/l", []byte("w"), backend.PutOptions{})
	require.NoError(t, err)
	r, err := c.List(ctx, backend.ListQuery{Prefix: "a/"})
	require.NoError(t, err)
	require.Equal(t, []string{"a/k", "a/l"}, r.Names())
	require.NoError(t, c.Delete(ctx, "a/k", backend.DeleteOptions{}))
	e, err = c.Pop(ctx, "a/l")
	require.NoError(t, err)
	require.Equal(t, "w", string(e.Value))
	e, err = c.Pop(ctx, "a/l")
	require.NoError(t, err)
	require.Nil(t, e)

	fence := backend.Fence{Key: "l", Token: 1}
	for name, call := range map[string]func() error{
		"transactions": func() error { _, err := c.Txn(ctx, []backend.TxnOp{{Verb: backend.VerbSet, Key: "a/k"}}); return err },
		"watches":      func() error { _, err := c.Watch(ctx, backend.WatchQuery{Key: "a/k"}); return err },
		"sessions":     func() error { _, err := c.CreateSession(ctx, backend.SessionOptions{}); return err },
		"locks":        func() error { _, err := c.Lock(ctx, backend.LockOptions{Key: "a/k"}); return err },
		"fences":       func() error { _, err := c.Put(ctx, "a/k", nil, backend.PutOptions{Fence: fence}); return err },
		"expiry": func() error {
			_, err := c.Put(ctx, "a/k", nil, backend.PutOptions{ExpiresAfter: time.Hour})
			return err
		},
	} {
		err := call()
		require.ErrorIs(t, err, backend.ErrInvalid, name)
		require.ErrorContains(t, err, "this plugin does not have: ", name)
		require.ErrorContains(t, err, name)
	}
	_, err = c.Status(ctx)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "there is no Status")
	err = c.Leave(ctx)
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "the plugin is older than this host and does not know this call")
	e, err = c.Get(ctx, "a/k", backend.GetOptions{})
	require.NoError(t, err)
	require.Nil(t, e, "what could not be done as it was asked for was not done otherwise")
}

// The newest version of the protocol that both speak is taken.
func TestVersions(t *testing.T) {
	c, err := plugin.Open(t.Context(), plugin.Config{Path: oldPlugin, Args: []string{"1", "2"}})
	require.NoError(t, err)
	_, err = c.Put(t.Context(), "k", nil, backend.PutOptions{})
	require.NoError(t, err)
	require.NoError(t, c.Close())

	process, err := start(t, []int{1, 2}, testPlugin)
	require.NoError(t, err)
	require.Equal(t, 1, process.NegotiatedVersion())
	process, err = start(t, []int{1, 2, 3}, oldPlugin, "1", "2")
	require.NoError(t, err)
	require.Equal(t, 2, process.NegotiatedVersion())

	_, err = plugin.Open(t.Context(), plugin.Config{Path: oldPlugin, Args: []string{"2", "3"}})
	require.ErrorIs(t, err, backend.ErrInvalid)
	require.ErrorContains(t, err, "is newer than this host: the oldest plugin protocol that it speaks is version 2, and the host speaks 1; upgrade the host, or use an older plugin")
	// A host that has given up version 1 learns that the plugin has nothing newer.
	_, err = start(t, []int{2, 3}, testPlugin)
	require.ErrorContains(t, err, "Plugin version: 1")
}

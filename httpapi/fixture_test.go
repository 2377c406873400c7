package httpapi

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/backend/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// admin is a node with two members, one of them suspect.
type admin struct {
	status backend.Status
	err    error
	// leave, remove and verify say what their calls do.
	leave  func(ctx context.Context) error
	remove func(ctx context.Context, req backend.RemoveRequest) (*backend.RemoveReport, error)
	verify func(ctx context.Context, q backend.VerifyQuery) (*backend.VerifyPage, error)
}

func newAdmin() *admin {
	return &admin{status: backend.Status{
		Name: "a", ID: "node-a", Version: "1.2.3", Role: "member", State: "serving", RingID: "ring-1", Epoch: 7, Quorum: true,
		Alive: 2, Members: 2, Keys: 10, DiskBytes: 4096, UptimeSeconds: 1.5,
		GossipAddr: "127.0.0.1:7946", MeshAddr: "127.0.0.1:7947", HTTPAddr: "127.0.0.1:8500", DataDir: "/data", PeersConnected: 1,
		Change: "waits for b", Repair: &backend.RepairStatus{Running: true, With: "b", Done: 0.5, Behind: []string{"b"}, Received: 3, Given: 4, LastSeconds: -1},
	}}
}

func (a *admin) Status(context.Context) (*backend.Status, error) {
	s := a.status
	return &s, a.err
}

func (a *admin) Members(context.Context) ([]backend.Member, error) {
	return []backend.Member{
		{Name: "a", ID: "node-a", Role: "member", State: "alive", GossipAddr: "127.0.0.1:7946", MeshAddr: "127.0.0.1:7947", HTTPAddr: "127.0.0.1:8500", Version: "1.2.3"},
		{Name: "b", ID: "node-b", Role: "member", State: "suspect", GossipAddr: "[::1]:7956", MeshAddr: "[::1]:7957"},
		{Name: "c", ID: "node-c", Role: "client", State: "dead", GossipAddr: "unknown"},
		{Name: "d", ID: "node-d", Role: "client", State: "left", GossipAddr: "127.0.0.1:99999"},
		{Name: "e", ID: "node-e", Role: "member", State: "new to us", GossipAddr: "127.0.0.1:1"},
	}, a.err
}

func (a *admin) Ring(context.Context) (*backend.Ring, error) {
	return &backend.Ring{RingID: "ring-1", Epoch: 7, Joint: true, Replicas: 5, Level: 1, Change: "waits for b", Members: []backend.RingMember{
		{Name: "a", ID: "node-a", State: "alive", Addr: "127.0.0.1:7947", Tokens: 64, Share: 0.5, Synced: true},
		{Name: "b", ID: "node-b", State: "suspect", Addr: "[::1]:7957", Tokens: 64, Share: 0.5, Change: "joins",
			Sync: &backend.SyncProgress{Keys: 10, Bytes: 20, Rate: 1.5, Done: 0.25, SecondsLeft: 30}},
	}}, a.err
}

func (a *admin) Locate(_ context.Context, key string) (*backend.Location, error) {
	return &backend.Location{Key: key, Points: []string{"00ff"}, Owners: []backend.OwnerCopy{
		{Name: "a", ID: "node-a", State: "alive", Ballot: "12.node-a", Index: 12, Live: true},
		{Name: "b", ID: "node-b", State: "dead", Error: "no answer"},
	}}, a.err
}

func (a *admin) Leave(ctx context.Context) error {
	if a.leave == nil {
		return a.err
	}
	return a.leave(ctx)
}

func (a *admin) Remove(ctx context.Context, req backend.RemoveRequest) (*backend.RemoveReport, error) {
	if a.remove == nil {
		return &backend.RemoveReport{}, a.err
	}
	return a.remove(ctx, req)
}

func (a *admin) Verify(ctx context.Context, q backend.VerifyQuery) (*backend.VerifyPage, error) {
	if a.verify == nil {
		return &backend.VerifyPage{}, a.err
	}
	return a.verify(ctx, q)
}

// node is a served Handler over a memory backend.
type node struct {
	*httptest.Server
	t       *testing.T
	handler *Handler
	admin   *admin
}

// serve starts a node; change may alter its configuration first.
func serve(t *testing.T, change func(*Config)) *node {
	t.Helper()
	store := memory.New(backend.DefaultLimits())
	a := newAdmin()
	cfg := Config{Backend: store, Admin: a, NodeName: "a"}
	if change != nil {
		change(&cfg)
	}
	n := &node{t: t, handler: New(cfg), admin: a}
	n.Server = httptest.NewUnstartedServer(n.handler)
	n.Server.Config = NewServer(n.handler)
	n.Start()
	t.Cleanup(func() {
		n.Close()
		require.NoError(t, n.handler.Close())
		require.NoError(t, store.Close())
	})
	return n
}

// response is a response read to its end.
type response struct {
	status int
	header http.Header
	body   string
}

// send sends a request line as it is: target is not parsed, cleaned or escaped
// beyond what net/url does with an opaque target.
func (n *node) send(method, target, body string, headers ...string) response {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, n.URL+target, strings.NewReader(body))
	require.NoError(n.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := *n.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	require.NoError(n.t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(n.t, err)
	return response{resp.StatusCode, resp.Header, string(data)}
}

// client returns a Client for the node.
func (n *node) client() *Client {
	n.t.Helper()
	c, err := NewClient(ClientConfig{Addr: n.Listener.Addr().String()})
	require.NoError(n.t, err)
	n.t.Cleanup(func() { require.NoError(n.t, c.Close()) })
	return c
}

// scripted is a backend whose calls do what the test says. What is not set
// panics, which net/http turns into a broken connection and the test into a
// failure.
type scripted struct {
	backend.Backend
	get  func(ctx context.Context, key string) (*backend.Entry, error)
	put  func(ctx context.Context, key string) (uint64, error)
	del  func(ctx context.Context, key string) error
	list func(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error)
}

func (s *scripted) Limits() backend.Limits { return backend.DefaultLimits() }

func (s *scripted) Get(ctx context.Context, key string, _ backend.GetOptions) (*backend.Entry, error) {
	return s.get(ctx, key)
}

func (s *scripted) Put(ctx context.Context, key string, _ []byte, _ backend.PutOptions) (uint64, error) {
	return s.put(ctx, key)
}

func (s *scripted) Delete(ctx context.Context, key string, _ backend.DeleteOptions) error {
	return s.del(ctx, key)
}

func (s *scripted) Pop(ctx context.Context, key string) (*backend.Entry, error) {
	return s.get(ctx, key)
}

func (s *scripted) PopItem(ctx context.Context) (*backend.Entry, error) { return s.get(ctx, "") }

func (s *scripted) List(ctx context.Context, q backend.ListQuery) (*backend.ListResult, error) {
	return s.list(ctx, q)
}

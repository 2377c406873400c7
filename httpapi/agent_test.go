package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/backend"
)

func TestAgentBodies(t *testing.T) {
	n := serve(t, nil)
	for _, tc := range []struct{ target, want string }{
		{"/v1/status/leader", `"127.0.0.1:7947"`},
		{"/v1/status/peers", `["127.0.0.1:7947","[::1]:7957"]`},
		{"/v1/health", `{"state":"serving","quorum":true}`},
		{"/v1/chord/limits", `{"max_key_size":2048,"max_value_size":524288,"capabilities":55}`},
		{"/v1/ring", `{"ring_id":"ring-1","epoch":7,"joint":true,"replicas":5,"level":1,"members":[` +
			`{"name":"a","id":"node-a","state":"alive","addr":"127.0.0.1:7947","tokens":64,"share":0.5,"synced":true},` +
			`{"name":"b","id":"node-b","state":"suspect","addr":"[::1]:7957","tokens":64,"share":0.5,"change":"joins","sync":{"keys":10,"bytes":20,"rate":1.5,"done":0.25,"seconds_left":30}}],` +
			`"change":"waits for b"}`},
		{"/v1/ring/locate/a//b", `{"key":"a//b","points":["00ff"],"owners":[` +
			`{"name":"a","id":"node-a","state":"alive","ballot":"12.node-a","index":12,"live":true},` +
			`{"name":"b","id":"node-b","state":"dead","ballot":"","index":0,"live":false,"error":"no answer"}]}`},
		{"/v1/agent/self", `{"Config":{"Datacenter":"dc1","NodeName":"a","NodeID":"node-a","Server":true,"Version":"1.2.3"},` +
			`"Member":{"Name":"a","Addr":"127.0.0.1","Port":7946,"Tags":{"gossip_addr":"127.0.0.1:7946","http_addr":"127.0.0.1:8500","id":"node-a","mesh_addr":"127.0.0.1:7947","role":"member","state":"alive","version":"1.2.3"},"Status":1},` +
			`"Stats":{"http":{"in_flight":"0","limit":"1024","refused":"0","requests":"7","transactions":"0"}},` +
			`"Chord":{"name":"a","id":"node-a","version":"1.2.3","role":"member","state":"serving","ring_id":"ring-1","epoch":7,"quorum":true,"alive":2,"members":2,"keys":10,"disk_bytes":4096,"uptime_seconds":1.5,` +
			`"gossip_addr":"127.0.0.1:7946","mesh_addr":"127.0.0.1:7947","http_addr":"127.0.0.1:8500","data_dir":"/data","peers_connected":1,` +
			`"change":"waits for b","repair":{"running":true,"with":"b","done":0.5,"behind":["b"],"received":3,"given":4,"last_seconds":-1}}}`},
	} {
		got := n.send("GET", tc.target, "")
		require.Equal(t, 200, got.status, tc.target)
		require.Equal(t, tc.want, got.body, tc.target)
		require.Equal(t, "application/json", got.header.Get("Content-Type"))
	}
}

func TestMembersInConsulsShape(t *testing.T) {
	n := serve(t, nil)
	got := n.send("GET", "/v1/agent/members", "")
	require.Equal(t, 200, got.status)
	require.Contains(t, got.body, `{"Name":"b","Addr":"::1","Port":7956,"Tags":{`)
	statuses := map[string]int{}
	for _, m := range []string{"alive", "suspect", "left", "dead", "new"} {
		statuses[m] = toAgentMember(backend.Member{State: m}).Status
	}
	require.Equal(t, map[string]int{"alive": 1, "suspect": 1, "left": 3, "dead": 4, "new": 0}, statuses)
}

func TestAdminThroughTheClient(t *testing.T) {
	n := serve(t, nil)
	c := n.client()
	ctx := t.Context()

	status, err := c.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, &n.admin.status, status)

	want, err := n.admin.Members(ctx)
	require.NoError(t, err)
	members, err := c.Members(ctx)
	require.NoError(t, err)
	require.Equal(t, want, members)

	wantRing, err := n.admin.Ring(ctx)
	require.NoError(t, err)
	ring, err := c.Ring(ctx)
	require.NoError(t, err)
	require.Equal(t, wantRing, ring)

	wantLocation, err := n.admin.Locate(ctx, "k")
	require.NoError(t, err)
	location, err := c.Locate(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, wantLocation, location)
}

func TestHealthOfANodeThatDoesNotServe(t *testing.T) {
	n := serve(t, nil)
	n.admin.status.State, n.admin.status.Reason, n.admin.status.Quorum = "failed", "the disk is full", false
	got := n.send("GET", "/v1/health", "")
	require.Equal(t, 503, got.status)
	require.Equal(t, `{"state":"failed","reason":"the disk is full","quorum":false}`, got.body)
	require.Equal(t, "1", got.header.Get("Retry-After"))
	require.Equal(t, `""`, n.send("GET", "/v1/status/leader", "").body)

	n.admin.err = errors.New("broken")
	for _, target := range []string{"/v1/health", "/v1/agent/self", "/v1/agent/members", "/v1/status/leader", "/v1/status/peers", "/v1/ring", "/v1/ring/locate/k"} {
		require.Equal(t, 500, n.send("GET", target, "").status, target)
	}
	require.Equal(t, "false", n.send("GET", "/v1/kv/k?stale", "").header.Get("X-Consul-KnownLeader"))
}

func TestNodeNameComesFromTheConfigurationFirst(t *testing.T) {
	require.Contains(t, serve(t, func(cfg *Config) { cfg.NodeName = "named" }).send("GET", "/v1/agent/self", "").body, `"NodeName":"named"`)
	n := serve(t, func(cfg *Config) { cfg.NodeName = "" })
	n.admin.status.State = "stopping"
	body := n.send("GET", "/v1/agent/self", "").body
	require.Contains(t, body, `"NodeName":"a"`)
	require.Contains(t, body, `"Status":3`)
}

func TestMetrics(t *testing.T) {
	n := serve(t, func(cfg *Config) {
		cfg.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "up 1") })
	})
	require.Equal(t, "up 1\n", n.send("GET", "/v1/agent/metrics?format=prometheus", "").body)
	require.Equal(t, "up 1\n", n.send("GET", "/v1/agent/metrics", "").body)
	got := n.send("GET", "/v1/agent/metrics?format=pretty", "")
	require.Equal(t, 400, got.status)
	require.Equal(t, "Invalid format \"pretty\": ask with ?format=prometheus\n", got.body)
}

func TestRequestsAreLoggedAtDebug(t *testing.T) {
	var lines lineBuffer
	n := serve(t, func(cfg *Config) {
		cfg.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: &lines, DisableTime: true})
	})
	n.send("GET", "/v1/health", "")
	n.send("GET", "/v1/kv/none", "")
	n.Close() // waits until the requests are over
	require.Contains(t, lines.String(), `request: method=GET path=/v1/health status=200`)
	require.Contains(t, lines.String(), `request: method=GET path=/v1/kv/none status=404`)
}

package agent

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/chord-plugin/chord-plugin/chord"
)

func TestReachable(t *testing.T) {
	c := &Config{node: chord.Config{GossipAddr: "0.0.0.0:1", MeshAddr: "[::]:2"}}
	require.Equal(t, "127.0.0.1:8500", c.reachable("127.0.0.1:8500"))
	require.Empty(t, c.reachable(""), "there is no API")
	require.Empty(t, c.reachable("[::]:8500"))
	c.node.MeshAdvertise = "mesh.example:9"
	require.Equal(t, "mesh.example:8500", c.reachable("0.0.0.0:8500"))
	c.node.GossipAdvertise = "10.0.0.1:9"
	require.Equal(t, "10.0.0.1:8500", c.reachable("[::]:8500"))
	c.node.GossipAdvertise, c.node.MeshAdvertise, c.node.GossipAddr = "", "", "10.0.0.2:1"
	require.Equal(t, "10.0.0.2:8500", c.reachable("0.0.0.0:8500"))
}

func TestExplainListen(t *testing.T) {
	c := &Config{httpAddr: "127.0.0.1:70", node: chord.Config{GossipAddr: "127.0.0.1:7", MeshAddr: "127.0.0.1:700"}}
	for text, want := range map[string]string{
		"listen tcp 127.0.0.1:70: bind":     "http_addr (-http-addr) is 127.0.0.1:70: listen tcp 127.0.0.1:70: bind",
		"mesh: cannot listen 127.0.0.1:700": "mesh_addr (-mesh-addr) is 127.0.0.1:700: mesh: cannot listen 127.0.0.1:700",
		"gossip address 127.0.0.1:7":        "gossip_addr (-gossip-addr) is 127.0.0.1:7: gossip address 127.0.0.1:7",
		"listen tcp 127.0.0.1:7000: bind":   "listen tcp 127.0.0.1:7000: bind",
		"the disk is on fire":               "the disk is on fire",
	} {
		require.EqualError(t, c.explainListen(errors.New(text)), want)
	}
}

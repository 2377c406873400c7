package cluster

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestNetwork cuts a network between two members, the first of which is this
// process, and the second an echo.
func TestNetwork(t *testing.T) {
	c, err := New(Config{Binary: "x", Dir: t.TempDir(), Members: 3, Proxied: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	a, b := c.Members[0], c.Members[1]
	a.pid.Store(int64(os.Getpid()))
	require.Contains(t, strings.Join(a.Args(), " "), b.proxy.gossipAddr(), "the others are reached through their proxies")

	packets, err := net.ListenPacket("udp", b.GossipAddr)
	require.NoError(t, err)
	t.Cleanup(func() { packets.Close() })
	mesh, err := net.Listen("tcp", b.MeshAddr)
	require.NoError(t, err)
	t.Cleanup(func() { mesh.Close() })
	go func() {
		for {
			conn, err := mesh.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					fmt.Fprintln(conn, lines.Text())
				}
			}()
		}
	}()

	const soon, never = 5 * time.Second, 100 * time.Millisecond
	dial := func() (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", b.proxy.meshAddr())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		return conn, bufio.NewReader(conn)
	}
	echo := func(conn net.Conn, r *bufio.Reader, want string, patience time.Duration) error {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		line, err := r.ReadString('\n')
		if err == nil {
			require.Equal(t, want+"\n", line)
		}
		return err
	}
	from, err := net.ListenPacket("udp", a.GossipAddr)
	require.NoError(t, err)
	t.Cleanup(func() { from.Close() })
	to, err := net.ResolveUDPAddr("udp", b.proxy.gossipAddr())
	require.NoError(t, err)
	packet := func(text string, patience time.Duration) error {
		_, err := from.WriteTo([]byte(text), to)
		require.NoError(t, err)
		require.NoError(t, packets.SetReadDeadline(time.Now().Add(patience)))
		buf := make([]byte, 64)
		n, sender, err := packets.ReadFrom(buf)
		if err == nil {
			require.Equal(t, text, string(buf[:n]))
			require.Equal(t, a.proxy.gossipAddr(), sender.String(), "it comes from where others know the sender")
		}
		return err
	}

	before, beforeLines := dial()
	fmt.Fprintln(before, "one")
	require.NoError(t, echo(before, beforeLines, "one", soon))
	require.NoError(t, packet("one", soon))

	c.Network.Cut([]*Member{a}, []*Member{b})
	fmt.Fprintln(before, "two")
	during, duringLines := dial()
	fmt.Fprintln(during, "three")
	require.Error(t, echo(before, beforeLines, "two", never), "over a connection from before the cut")
	require.Error(t, echo(during, duringLines, "three", never), "over a new connection")
	require.Error(t, packet("two", never))

	c.Network.Cut([]*Member{a, b}) // only the third is alone now
	require.NoError(t, echo(before, beforeLines, "two", soon), "TCP tries again")
	require.NoError(t, echo(during, duringLines, "three", soon))
	require.NoError(t, packet("three", soon))

	c.Network.Cut([]*Member{b})
	require.Error(t, packet("four", never))
	c.Network.Heal()
	require.NoError(t, packet("five", soon))
}

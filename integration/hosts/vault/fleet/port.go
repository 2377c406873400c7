package fleet

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the range from which systems choose those of outgoing
// connections, so that a server that was down finds its ports free.
const (
	lowestPort  = 10000
	highestPort = 30000
	portTries   = 200
)

// freeAddrs returns n loopback addresses that are free for TCP and UDP.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	given := map[int]bool{}
	var last error
	for range portTries {
		if len(addrs) == n {
			return addrs, nil
		}
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if given[port] {
			continue
		}
		if last = isFree(addr); last == nil {
			given[port] = true
			addrs = append(addrs, addr)
		}
	}
	return nil, fmt.Errorf("no %d free ports between %d and %d in %d tries: %w", n, lowestPort, highestPort, portTries, last)
}

func isFree(addr string) error {
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = tcp.Close() }() // nothing was done with it
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	return udp.Close()
}
